//! What a package contains beside the program, made from the command line and the annotated configuration: manual pages,
//! completions of shells, the profile for containers.

#![forbid(unsafe_code)]

use std::{fs, path::Path};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::roff::{Roff, bold, roman};

use super::{Failure, options::Cli, print, version::VERSION};

/// Every option with its description.
const ANNOTATED: &str = include_str!("../../fanfare.toml");

/// The system calls that fanfare makes, in the form that container runtimes read.
pub const SECCOMP_PROFILE: &str = include_str!("../../packaging/seccomp.json");

/// Prints the script that lets this shell complete.
pub fn print_completions(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fanfare", &mut script);
    print(&String::from_utf8_lossy(&script));
}

/// Writes fanfare.1, a page for each command, and fanfare.toml.5. The error is one line.
pub fn write_manual(folder: &Path) -> Result<(), Failure> {
    // The pages name the version of each release, not the commit that it was built from.
    let command = Cli::command().long_version(None).disable_help_subcommand(true);
    let written = fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command, folder))
        .and_then(|()| fs::write(folder.join("fanfare.toml.5"), options_page(ANNOTATED)));
    written.map_err(|error| Failure::Other(format!("{}: {error}", folder.display())))
}

/// The manual page of a configuration whose options stand below what is said of them, each block followed by an empty
/// line.
fn options_page(annotated: &str) -> String {
    let mut page = Roff::new();
    page.control("TH", ["fanfare.toml", "5", "", &format!("fanfare {VERSION}"), ""]);
    page.control("SH", ["NAME"]).text([roman("fanfare.toml - configuration of fanfare(1)")]);
    page.control("SH", ["DESCRIPTION"]);
    let mut comment = Vec::new();
    for line in annotated.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.strip_prefix(' ').unwrap_or(text));
            continue;
        }
        // A comment without an option below it is about all of them.
        if line.is_empty() && !comment.is_empty() {
            say(&mut page, &std::mem::take(&mut comment));
        } else if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            page.control("SH", [format!("[{section}]").as_str()]);
            say(&mut page, &std::mem::take(&mut comment));
        } else if !line.is_empty() {
            page.control("TP", []).text([bold(line)]);
            say(&mut page, &std::mem::take(&mut comment));
        }
    }
    page.control("SH", ["FILES"]);
    page.control("TP", []).text([bold("/etc/fanfare/fanfare.toml")]);
    page.text([roman("The configuration of the service, as packages install it.")]);
    page.control("TP", []).text([bold("/var/lib/fanfare")]);
    page.text([roman("The token for the API, certificates that were issued.")]);
    page.control("SH", ["SEE ALSO"]).text([roman("fanfare(1), fanfare-check(1)")]);
    page.render()
}

/// A comment: its lines are one text, but those that are indented stay as they are.
fn say(page: &mut Roff, comment: &[&str]) {
    let mut is_shown = false;
    for line in comment {
        let is_example = line.starts_with("  ");
        if is_example != is_shown {
            page.control(if is_example { "nf" } else { "fi" }, []);
            is_shown = is_example;
        }
        if ["Range: ", "Example:"].iter().any(|start| line.starts_with(start)) {
            page.control("br", []);
        }
        match line.is_empty() {
            true => page.control("PP", []),
            false => page.text([roman(*line)]),
        };
    }
    if is_shown {
        page.control("fi", []);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_configuration_has_each_option_with_what_is_said_of_it() {
        let page = options_page(
            "# All.\n\n# So many.\n# 0 to 9.\nmany = 1\n\n[part]\n# Like\n#   \"this\"\n# or not.\n.it = '\\'\n",
        );
        let expected = "many = 1\\fR\nSo many.\n0 to 9.\n.SH [part]\n.TP\n";
        assert!(page.contains(expected), "{page}");
        assert!(page.contains("Like\n.nf\n  \"this\"\n.fi\nor not.\n"), "{page}");
        let page = options_page(ANNOTATED);
        for line in ANNOTATED.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let name = line.split(" = ").next().unwrap_or(line);
            assert!(page.contains(name), "{name}");
        }
    }
}
