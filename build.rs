//! The page is in the binary: a file that comes or goes under `web/` makes a new one.

fn main() {
    println!("cargo:rerun-if-changed=web");
}
