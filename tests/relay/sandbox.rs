//! A system that forbids io_uring, as container runtimes do: a seccomp filter of the calling thread.

use std::mem::offset_of;

use libc::{c_ulong, seccomp_data, sock_filter, sock_fprog};

/// From now on `io_uring_setup` fails with `errno` in this thread and in all that it starts.
pub fn refuse_io_uring(errno: i32) {
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let jump_if_equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let result = libc::BPF_RET | libc::BPF_K;
    let mut filter = [
        statement(load, offset_of!(seccomp_data, nr) as u32, 0, 0),
        statement(jump_if_equal, libc::SYS_io_uring_setup as u32, 0, 1),
        statement(result, libc::SECCOMP_RET_ERRNO | errno as u32, 0, 0),
        statement(result, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    const NONE: c_ulong = 0;
    // SAFETY: no memory is passed. The thread can gain no privileges afterwards, which a filter requires.
    let promised = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as c_ulong, NONE, NONE, NONE) };
    assert_eq!(promised, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: `program` and the filter that it points to live until the call returns; the kernel copies them.
    let set = unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, c_ulong::from(libc::SECCOMP_MODE_FILTER), &raw const program)
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

fn statement(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}
