//! JSON Web Tokens: each algorithm, each claim, keys of each kind, and forged ones.

use std::path::PathBuf;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use fanfare::access::{Access, Action, Cause, KeyRing, Login, Party, Rules};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};

use super::asking::*;

const SECRET: &str = "sixteen-bytes-of-ours";

pub fn key_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/access/keys").join(name)
}

fn pem(name: &str) -> Vec<u8> {
    std::fs::read(key_file(name)).unwrap()
}

/// One key for each algorithm.
pub fn keys() -> [(Algorithm, EncodingKey, &'static str); 3] {
    [
        (Algorithm::RS256, EncodingKey::from_rsa_pem(&pem("rsa.pem")).unwrap(), "rsa.pub.pem"),
        (Algorithm::ES256, EncodingKey::from_ec_pem(&pem("ec.pem")).unwrap(), "ec.pub.pem"),
        (Algorithm::EdDSA, EncodingKey::from_ed_pem(&pem("ed.pem")).unwrap(), "ed.pub.pem"),
    ]
}

fn claims() -> Value {
    json!({ "action": "play", "streams": "live/*", "exp": now() + 60 })
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[key] = value;
    claims
}

fn without(key: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(key);
    claims
}

fn signed(claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn by_secret() -> Rules {
    rules(&format!("[[access]]\njwt = true\n[jwt]\nsecrets = ['another-one-of-ours', '{SECRET}']\n"))
}

fn cause(rules: &Rules, claims: &Value) -> Cause {
    denied(&play(rules, &format!("live/a?jwt={}", signed(claims)))).0
}

#[test]
fn a_token_of_each_algorithm_lets_in_with_the_key_from_a_file() {
    let paths = keys().map(|(_, _, file)| format!("'{}'", key_file(file).display()));
    let rules = rules(&format!("[[access]]\njwt = true\n[jwt]\npublic_keys = [{}]\n", paths.join(", ")));
    for (algorithm, key, _) in keys() {
        let token = encode(&Header::new(algorithm), &claims(), &key).unwrap();
        assert_eq!(play(&rules, &format!("live/a?jwt={token}")), allowed_for(60), "{algorithm:?}");
        let party = Party { login: Some(Login::Token(token)), ..Party::default() };
        assert_eq!(decide_for(&rules, Action::Play, "live/a", party), allowed_for(60), "{algorithm:?}");
    }
    assert_eq!(cause(&rules, &claims()), Cause::WrongCredentials, "of a secret that is not configured");
}

#[test]
fn a_token_of_each_algorithm_lets_in_with_a_key_that_was_fetched() {
    let ring = KeyRing::new();
    let toml = "[[access]]\njwt = true\n[jwt]\njwks_url = 'https://example.org/jwks'\n";
    let rules = rules_with(toml, ring.clone());
    let token = |(algorithm, key, id): (Algorithm, EncodingKey, &str)| {
        encode(&Header { kid: Some(id.to_owned()), ..Header::new(algorithm) }, &claims(), &key).unwrap()
    };
    for one in keys() {
        assert_eq!(denied(&play(&rules, &format!("live/a?jwt={}", token(one)))).0, Cause::WrongCredentials);
    }
    let jwk = |(algorithm, key, id): (Algorithm, EncodingKey, &str)| {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, algorithm).unwrap()).unwrap();
        jwk["kid"] = id.into();
        jwk
    };
    let others = [json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "x" }), json!({ "kty": "new" }), json!(5)];
    let set = |keys: Vec<Value>| json!({ "keys": keys }).to_string();
    let all: Vec<Value> = keys().map(jwk).into_iter().chain(others.clone()).collect();
    assert_eq!(ring.set_jwks(&set(all)), Ok(3));
    for one in keys() {
        assert_eq!(play(&rules, &format!("live/a?token={}", token(one))), allowed_for(60));
    }
    let [(algorithm, key, _), ..] = keys();
    let other_id = token((algorithm, key.clone(), "another-id"));
    assert_eq!(denied(&play(&rules, &format!("live/a?jwt={other_id}"))).0, Cause::WrongCredentials);
    let no_id = encode(&Header::new(algorithm), &claims(), &key).unwrap();
    assert_eq!(play(&rules, &format!("live/a?jwt={no_id}")), allowed_for(60));

    for (json, expected) in [
        ("", "not a JWK Set"),
        ("{}", "not a JWK Set"),
        ("<html>", "not a JWK Set"),
        (&*set(others.to_vec()), "no key for RS256, ES256 or EdDSA"),
        (&*set(vec![json!({}); 65]), "65 keys are too many"),
    ] {
        let error = ring.set_jwks(json).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(play(&rules, &format!("live/a?jwt={no_id}")), allowed_for(60), "the keys in force stay");
    let next = rules_with(toml, ring.clone());
    assert_eq!(play(&next, &format!("live/a?jwt={no_id}")), allowed_for(60), "and for the next rules");
    let elsewhere = rules_with(&toml.replace("example.org", "example.com"), ring);
    assert_eq!(denied(&play(&elsewhere, &format!("live/a?jwt={no_id}"))).0, Cause::WrongCredentials);
}

#[test]
fn a_token_is_for_its_action_and_its_streams() {
    let rules = by_secret();
    for (action, streams) in [
        (json!("play"), json!("live/a")),
        (json!("any"), json!("*")),
        (json!(["publish", "play"]), json!(["other/*", "l?ve/{a,b}"])),
    ] {
        let claims = json!({ "action": action, "streams": streams, "exp": now() + 60 });
        assert_eq!(play(&rules, &format!("live/a?jwt={}", signed(&claims))), allowed_for(60), "{claims}");
    }
    for claims in [
        with("action", json!("publish")),
        with("action", json!([])),
        with("action", json!("Play")),
        with("action", json!("read")),
        with("streams", json!("live/b")),
        with("streams", json!("live")),
        with("streams", json!("[")),
        with("streams", json!("")),
        without("action"),
        without("streams"),
    ] {
        assert_eq!(cause(&rules, &claims), Cause::NotForThis, "{claims}");
    }
    let both = signed(&with("action", json!("any")));
    assert_eq!(publish(&rules, &format!("live/a?jwt={both}")), allowed_for(60));
    let connect = rules.decide(&question(Action::Connect, &format!("live?jwt={both}"), FAR));
    assert_eq!(connect, allowed(), "the rule is for publishing and playing");
}

#[test]
fn a_token_in_the_form_of_mediamtx_lets_in() {
    let rules = by_secret();
    let token =
        |permissions: Value| signed(&json!({ "exp": now() + 60, "mediamtx_permissions": permissions }));
    let one =
        token(json!([{ "action": "read", "path": "live/a" }, { "action": "publish", "path": "live/b" }]));
    assert_eq!(play(&rules, &format!("live/a?jwt={one}")), allowed_for(60));
    assert_eq!(publish(&rules, &format!("live/b?jwt={one}")), allowed_for(60));
    assert_eq!(denied(&play(&rules, &format!("live/b?jwt={one}"))).0, Cause::NotForThis);
    assert_eq!(denied(&publish(&rules, &format!("live/a?jwt={one}"))).0, Cause::NotForThis);
    let all = token(json!([{ "action": "read" }]));
    assert_eq!(play(&rules, &format!("any/thing?jwt={all}")), allowed_for(60));
}

#[test]
fn times_issuer_and_audience_are_checked() {
    let rules = by_secret();
    assert_eq!(cause(&rules, &with("exp", json!(now()))), Cause::Expired);
    assert_eq!(cause(&rules, &with("exp", json!(0))), Cause::Expired);
    assert_eq!(cause(&rules, &with("nbf", json!(now() + 60))), Cause::Expired);
    assert_eq!(cause(&rules, &without("exp")), Cause::WrongCredentials);
    for exp in [json!("1900000000"), json!(null), json!(-1), json!(1e300), json!([1_900_000_000_u64])] {
        assert_eq!(cause(&rules, &with("exp", exp.clone())), Cause::WrongCredentials, "{exp}");
        assert_eq!(
            play(&rules, &format!("live/a?jwt={}", signed(&with("nbf", json!(now()))))),
            allowed_for(60)
        );
    }
    for nbf in [json!("0"), json!(-1), json!({})] {
        assert_eq!(cause(&rules, &with("nbf", nbf.clone())), Cause::WrongCredentials, "{nbf}");
    }
    let fraction = signed(&with("exp", json!(now() as f64 + 60.9)));
    assert_eq!(play(&rules, &format!("live/a?jwt={fraction}")), allowed_for(60));

    let strict = super::asking::rules(&format!(
        "[[access]]\njwt = true\nsession_expire = '10s'\n\
         [jwt]\nsecrets = '{SECRET}'\naudience = 'fanfare'\nissuer = 'us'\n"
    ));
    let ours = |aud: Value, iss: Value| {
        let mut claims = claims();
        (claims["aud"], claims["iss"], claims["sub"]) = (aud, iss, json!("ann"));
        claims
    };
    for aud in [json!("fanfare"), json!(["other", "fanfare"])] {
        let decision = play(&strict, &format!("live/a?jwt={}", signed(&ours(aud, json!("us")))));
        let fanfare::access::Decision::Verdict(fanfare::access::Verdict::Allow(grant)) = decision else {
            panic!("{decision:?}")
        };
        assert_eq!((grant.lasts_ms, grant.user.as_deref()), (Some(10_000), Some("ann")));
    }
    for claims in [
        ours(json!("other"), json!("us")),
        ours(json!([]), json!("us")),
        ours(json!("fanfare"), json!("them")),
        claims(),
    ] {
        assert_eq!(cause(&strict, &claims), Cause::WrongCredentials, "{claims}");
    }
}

/// A token whose parts are put together by hand.
fn forged(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[test]
fn no_forged_token_lets_in() {
    let path = key_file("rsa.pub.pem");
    let both = rules(&format!(
        "[[access]]\njwt = true\n[jwt]\nsecrets = '{SECRET}'\npublic_keys = ['{}']\n",
        path.display()
    ));
    // The public key, in each of its forms, as the secret of HS256.
    let public = String::from_utf8(pem("rsa.pub.pem")).unwrap();
    let base64: String = public.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::prelude::BASE64_STANDARD.decode(base64).unwrap();
    for secret in [public.as_bytes(), public.trim_end().as_bytes(), &der, &der[24..], b""] {
        let key = EncodingKey::from_secret(secret);
        for header in [
            Header::new(Algorithm::HS256),
            Header { kid: Some("../../../dev/null".to_owned()), ..Header::new(Algorithm::HS256) },
        ] {
            let token = encode(&header, &claims(), &key).unwrap();
            assert_eq!(denied(&play(&both, &format!("live/a?jwt={token}"))).0, Cause::WrongCredentials);
        }
    }
    let real = signed(&claims());
    let signature = real.rsplit('.').next().unwrap();
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "None", "typ": "JWT" }),
        json!({ "alg": "" }),
        json!({ "typ": "JWT" }),
        json!({ "alg": "HS512" }),
        json!({ "alg": "RS256" }),
        json!({ "alg": "HS256", "crit": ["exp"] }),
        json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": "" } }),
        json!([]),
    ] {
        for signature in ["", signature] {
            let token = forged(&header, &claims(), signature);
            assert_eq!(
                denied(&play(&both, &format!("live/a?jwt={token}"))).0,
                Cause::WrongCredentials,
                "{header}"
            );
        }
    }
    let longer = format!("{real}{}", "A".repeat(4096));
    for token in [
        real.replace('.', ""),
        format!("{real}."),
        format!(".{real}"),
        format!("{real}="),
        real[..real.len() - 1].to_owned(),
        real.to_ascii_lowercase(),
        longer,
        "..".to_owned(),
    ] {
        assert_eq!(
            denied(&play(&both, &format!("live/a?jwt={token}"))).0,
            Cause::WrongCredentials,
            "{token}"
        );
    }
    assert_eq!(play(&both, &format!("live/a?jwt={real}")), allowed_for(60));
    let unsigned = forged(&json!({ "alg": "HS256" }), &with("streams", json!("*")), signature);
    assert_eq!(denied(&play(&both, &format!("live/a?jwt={unsigned}"))).0, Cause::WrongCredentials);
}

#[test]
fn a_file_that_is_no_key_is_an_error_that_names_it() {
    for file in ["small.pub.pem", "p384.pub.pem", "ed.pem", "../main.rs"] {
        let path = key_file(file);
        let toml = format!("[jwt]\npublic_keys = ['{}']\n", path.display());
        let config = fanfare::config::Config::from_toml("f", &toml).unwrap().with_secret_files().unwrap();
        let error = Rules::new(&config, KeyRing::new(), now).err().expect(file);
        assert!(
            error.starts_with(&format!("jwt.public_keys: {}: not a public key for RS256", path.display())),
            "{error}"
        );
    }
    let config = fanfare::config::Config::from_toml("f", "[jwt]\npublic_keys = ['/no/such/file']\n").unwrap();
    let error = config.with_secret_files().unwrap_err();
    assert!(error.starts_with("jwt.public_keys: /no/such/file: No such file"), "{error}");
}
