//! The page is embedded in the binary: adding or removing a file under `web/` rebuilds it.

fn main() {
    println!("cargo:rerun-if-changed=web");
}
