//! What a package contains beside the program, made from the command line itself: manual pages, completions of shells.

#![forbid(unsafe_code)]

use std::{fs, path::Path};

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Failure, options::Cli, print};

/// Prints the script that lets this shell complete.
pub fn print_completions(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fanfare", &mut script);
    print(&String::from_utf8_lossy(&script));
}

/// Writes fanfare.1 and a page for each command. The error is one line.
pub fn write_manual(folder: &Path) -> Result<(), Failure> {
    // The pages name the version of each release, not the commit that it was built from.
    let command = Cli::command().long_version(None).disable_help_subcommand(true);
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
    written.map_err(|error| Failure::Other(format!("{}: {error}", folder.display())))
}
