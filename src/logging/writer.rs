//! Writes log lines on a thread of its own. A thread that logs appends the line to a bounded queue and continues: if
//! standard error is not read, log lines are lost, but media is not delayed. Lost lines are counted, and the count is
//! logged as soon as lines can be written again.

use std::{
    io::{ErrorKind, Write},
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::Level;

/// Bytes that wait to be written: about 5,000 lines, or one second of a pipe that is read at 1 MB/s.
const MAX_QUEUED_BYTES: usize = 1 << 20;
/// Memory that is kept for the next lines when the queue is empty.
const KEPT_BYTES: usize = 64 << 10;
/// Between two attempts to write to a full pipe that another process has made non-blocking.
const RETRY: Duration = Duration::from_millis(10);

/// The queue of one writer thread.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Signalled when lines were queued.
    queued: Condvar,
    /// Signalled when the writer has written or dropped all lines that it took.
    written: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Complete lines.
    bytes: Vec<u8>,
    is_writing: bool,
}

impl Queue {
    /// Starts the thread that writes to `sink`. It calls `report`, which may log, with the number of lines lost since
    /// the last report.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(
        sink: impl Write + Send + 'static,
        report: impl Fn(u64) + Send + 'static,
    ) -> std::io::Result<Arc<Self>> {
        let queue = Arc::new(Self {
            state: Mutex::default(),
            queued: Condvar::new(),
            written: Condvar::new(),
            lost: AtomicU64::new(0),
        });
        let writer = Writer { queue: queue.clone(), sink, is_line_torn: false, reported: 0, report };
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.run())?;
        Ok(queue)
    }

    /// Queues a line, with its line feed, unless there is no room for a line of this level. Never waits for the reader.
    pub(super) fn push(&self, line: &[u8], level: Level) {
        let mut state = self.state();
        if state.bytes.len() + line.len() > room(level) {
            drop(state);
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.bytes.extend_from_slice(line);
        drop(state);
        self.queued.notify_one();
    }

    /// Waits until all queued lines are written, for `timeout` at most.
    pub(super) fn flush(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut state = self.state();
        while state.is_writing || !state.bytes.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.written.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The number of lines lost since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements: a panic while it was locked does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How full the queue may be for a line of this level: details take no room from warnings and errors.
fn room(level: Level) -> usize {
    match level {
        Level::ERROR | Level::WARN => MAX_QUEUED_BYTES,
        Level::INFO => MAX_QUEUED_BYTES / 4 * 3,
        _ => MAX_QUEUED_BYTES / 2,
    }
}

struct Writer<S, R> {
    queue: Arc<Queue>,
    sink: S,
    /// The last write ended in the middle of a line.
    is_line_torn: bool,
    /// Lost lines that have been reported.
    reported: u64,
    report: R,
}

impl<S: Write, R: Fn(u64)> Writer<S, R> {
    fn run(mut self) {
        let mut bytes = Vec::new();
        loop {
            let mut state = self.queue.state();
            state.is_writing = false;
            if state.bytes.is_empty() {
                self.queue.written.notify_all();
            }
            while state.bytes.is_empty() {
                state = self.queue.queued.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            bytes.clear();
            bytes.shrink_to(KEPT_BYTES);
            mem::swap(&mut bytes, &mut state.bytes);
            state.is_writing = true;
            drop(state);
            self.write(&bytes);
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.is_line_torn && write_all(&mut self.sink, b"\n") == 1 {
            self.is_line_torn = false;
        }
        let taken = write_all(&mut self.sink, bytes);
        let rest = &bytes[taken..];
        if rest.is_empty() {
            let lost = self.queue.lost();
            if lost > self.reported {
                (self.report)(lost - mem::replace(&mut self.reported, lost));
            }
        } else {
            self.is_line_torn |= taken > 0 && bytes[taken - 1] != b'\n';
            let lines = rest.iter().filter(|&&byte| byte == b'\n').count();
            self.queue.lost.fetch_add(lines as u64, Ordering::Relaxed);
        }
    }
}

/// The number of bytes written before the sink failed: all of them if it did not.
fn write_all(sink: &mut impl Write, bytes: &[u8]) -> usize {
    let mut taken = 0;
    while taken < bytes.len() {
        match sink.write(&bytes[taken..]) {
            Ok(0) => break,
            Ok(n) => taken += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            // The disk is full, or the reader has closed the pipe.
            Err(_) => break,
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, PipeReader, Read},
        sync::mpsc,
    };

    use super::*;

    /// Far longer than any write here takes.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// A queue in front of a pipe that holds 64 KiB until it is read, and the reports of lost lines.
    fn piped() -> (Arc<Queue>, PipeReader, mpsc::Receiver<u64>) {
        let (reader, writer) = io::pipe().unwrap();
        let (reports, reported) = mpsc::channel();
        let queue = Queue::start(writer, move |lost| _ = reports.send(lost)).unwrap();
        (queue, reader, reported)
    }

    fn line(number: usize) -> Vec<u8> {
        format!("{number:0>99}\n").into_bytes()
    }

    fn read_lines(reader: &mut PipeReader, count: usize) -> Vec<usize> {
        let mut bytes = vec![0; count * 100];
        reader.read_exact(&mut bytes).unwrap();
        bytes.chunks(100).map(|line| String::from_utf8_lossy(line).trim().parse().unwrap()).collect()
    }

    #[test]
    fn lines_are_written_complete_and_in_order_and_flush_waits_for_the_last() {
        let (queue, mut reader, _) = piped();
        (0..500).for_each(|number| queue.push(&line(number), Level::INFO));
        queue.flush(PATIENCE);
        assert_eq!(read_lines(&mut reader, 500), (0..500).collect::<Vec<_>>());
        assert_eq!(queue.lost(), 0);
    }

    #[test]
    fn lines_that_a_stalled_reader_loses_are_counted_and_reported_and_block_no_thread() {
        let (queue, mut reader, reported) = piped();
        let count = 4 * MAX_QUEUED_BYTES / 100;
        // Each push returns to this thread although the pipe is full.
        (0..count).for_each(|number| queue.push(&line(number), Level::INFO));
        let lost = queue.lost() as usize;
        assert!((count / 2..count).contains(&lost), "{lost} of {count}");
        let since = Instant::now();
        queue.flush(Duration::from_millis(50));
        assert!(since.elapsed() < Duration::from_secs(5), "flush is bounded in time");

        let kept = read_lines(&mut reader, count - lost);
        assert!(kept.is_sorted(), "the order is kept");
        assert_eq!(reported.recv_timeout(PATIENCE), Ok(lost as u64));
        queue.push(&line(7), Level::INFO);
        assert_eq!(read_lines(&mut reader, 1), [7], "later lines are written");
        assert!(reported.try_recv().is_err(), "each lost line is reported once");
    }

    /// Blocks until it is released.
    struct Stuck(mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // An error means that the test has ended.
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn low_levels_leave_room_for_warnings_and_errors() {
        let (_let_go, stuck) = mpsc::channel();
        let queue = Queue::start(Stuck(stuck), |_| ()).unwrap();
        queue.push(&line(0), Level::INFO);
        while !queue.state().is_writing {
            thread::yield_now();
        }
        for (level, limit) in [
            (Level::TRACE, MAX_QUEUED_BYTES / 2),
            (Level::DEBUG, MAX_QUEUED_BYTES / 2),
            (Level::INFO, MAX_QUEUED_BYTES / 4 * 3),
            (Level::WARN, MAX_QUEUED_BYTES),
            (Level::ERROR, MAX_QUEUED_BYTES),
        ] {
            (0..2 * MAX_QUEUED_BYTES / 100).for_each(|number| queue.push(&line(number), level));
            let queued = queue.state().bytes.len();
            assert!((limit - 99..=limit).contains(&queued), "{queued} bytes of {limit} at {level}");
        }
    }

    /// Accepts some bytes, then fails a number of times, then accepts everything.
    struct Faulty {
        room: usize,
        failures: usize,
        error: ErrorKind,
        out: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Faulty {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 && self.failures > 0 {
                self.failures -= 1;
                return Err(self.error.into());
            }
            let n = if self.failures > 0 { bytes.len().min(self.room) } else { bytes.len() };
            self.room -= n.min(self.room);
            self.out.send(bytes[..n].to_vec()).unwrap();
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn faulty(room: usize, error: ErrorKind) -> (Arc<Queue>, mpsc::Receiver<Vec<u8>>, mpsc::Receiver<u64>) {
        let (out, written) = mpsc::channel();
        let (reports, reported) = mpsc::channel();
        let sink = Faulty { room, failures: 1, error, out };
        (Queue::start(sink, move |lost| _ = reports.send(lost)).unwrap(), written, reported)
    }

    #[test]
    fn after_a_full_disk_the_next_line_starts_on_a_new_line() {
        let (queue, written, reported) = faulty(5, ErrorKind::StorageFull);
        queue.push(b"the first\n", Level::INFO);
        queue.flush(PATIENCE);
        assert_eq!(queue.lost(), 1);
        queue.push(b"the second\n", Level::INFO);
        queue.flush(PATIENCE);
        assert_eq!(written.try_iter().flatten().collect::<Vec<_>>(), b"the f\nthe second\n");
        assert_eq!(reported.recv_timeout(PATIENCE), Ok(1));
    }

    #[test]
    fn a_write_that_would_block_is_repeated_and_loses_nothing() {
        let (queue, written, _) = faulty(5, ErrorKind::WouldBlock);
        queue.push(b"the first\n", Level::INFO);
        queue.flush(PATIENCE);
        assert_eq!(written.try_iter().flatten().collect::<Vec<_>>(), b"the first\n");
        assert_eq!(queue.lost(), 0);
    }
}
