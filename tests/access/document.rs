//! `docs/access.md`: each configuration in it is valid, and it names what there is.

use fanfare::{access::Cause, config::Config};

const DOCUMENT: &str = include_str!("../../docs/access.md");

#[test]
fn each_configuration_in_the_document_is_valid() {
    let blocks = DOCUMENT.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let blocks: Vec<_> = blocks.collect();
    assert!(blocks.len() >= 5, "{} found", blocks.len());
    for block in blocks {
        Config::from_toml("docs/access.md", block).unwrap_or_else(|error| panic!("{error}\n{block}"));
    }
}

#[test]
fn the_document_names_each_cause_of_a_refusal() {
    for cause in Cause::ALL {
        assert!(DOCUMENT.contains(&format!("`{}`", cause.label())), "{}", cause.label());
    }
}
