//! The command: what it prints where, and its exit code.

use std::{
    path::Path,
    process::{Command, Output},
};

use fanfare::config::Config;

fn migrate(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrate");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.arg("migrate").args(arguments).current_dir(folder).envs(variables.iter().copied());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_configuration_goes_to_standard_output_and_a_summary_to_standard_error() {
    let output = migrate(&["nginx/event.conf"], &[]);
    assert_eq!(output.status.code(), Some(0));
    Config::from_toml("fanfare.toml", &text(&output.stdout)).unwrap();
    let summary = text(&output.stderr);
    let expected = "nginx/event.conf: 48 lines: 21 carried over, 15 need no option, 12 not carried over, or only in part\n";
    assert_eq!(summary, expected);
}

#[test]
fn what_cannot_be_read_is_exit_code_2_and_one_line_with_the_place() {
    for (arguments, expected) in [
        (&["srs/none.conf"][..], "fanfare: srs/none.conf: No such file"),
        (&["main.rs"], "fanfare: main.rs: not recognized"),
        (&["--from", "srs", "mediamtx/club.yml"], "fanfare: mediamtx/club.yml:2: `protocols:` has no `;`"),
    ] {
        let output = migrate(arguments, &[]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
        let error = text(&output.stderr);
        assert!(error.starts_with(expected) && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn variables_of_mediamtx_override_its_file() {
    let variables = [
        ("MTX_RTMPADDRESS", ":1945"),
        ("MTX_AUTHINTERNALUSERS_0_PASS", "Another_One"),
        ("MTX_PATHS_BACKSTAGE_OVERRIDEPUBLISHER", "no"),
        ("MTX_NOTHING_OF_THE_KIND", "1"),
    ];
    let toml = text(&migrate(&["mediamtx/festival.yml"], &variables).stdout);
    let config = Config::from_toml("fanfare.toml", &toml).unwrap();
    assert_eq!(config.listen.rtmp[0].port(), 1945);
    assert!(toml.contains("# $MTX_RTMPADDRESS: rtmpAddress: :1945\n"), "{toml}");
    assert!(toml.contains("crew = [\"Another_One\"]\n"), "{toml}");
    assert!(
        toml.contains("# $MTX_PATHS_BACKSTAGE_OVERRIDEPUBLISHER: backstage.overridePublisher: no\n"),
        "{toml}"
    );
    assert!(toml.contains("#     $MTX_NOTHING_OF_THE_KIND"), "{toml}");
}

#[test]
fn variables_of_srs_are_named() {
    let toml = text(&migrate(&["srs/auction.conf"], &[("SRS_LISTEN", "1936")]).stdout);
    assert!(
        toml.contains("# - this variable is not read: write its value into the file:\n#     $SRS_LISTEN"),
        "{toml}"
    );
}
