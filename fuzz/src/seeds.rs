//! Writes the seeds of all targets, cut from captures of real clients: `seeds FOLDER CAPTURE…` makes one folder per
//! target.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().ok_or("usage: seeds FOLDER CAPTURE…")?;
    for capture in arguments {
        write_seeds(&folder, &capture).map_err(|error| format!("{}: {error}", capture.display()))?;
    }
    Ok(())
}

fn write_seeds(folder: &Path, capture: &Path) -> Result<(), Box<dyn Error>> {
    let client = capture.file_stem().ok_or("a capture has a name")?.to_string_lossy();
    let bytes = fs::read(capture)?;
    for target in fanfare_fuzz::targets() {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in target.seeds(&bytes).iter().enumerate() {
            fs::write(folder.join(format!("{client}-{number}")), seed)?;
        }
    }
    Ok(())
}
