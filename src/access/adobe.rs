//! Adobe's challenge to a user over RTMP, as FFmpeg and librtmp answer it: `authmod=adobe`. Each step is a connection of
//! its own, refused with a description that says what the next one has to send with its `connect`:
//!
//! 1. nothing: `code=403 need auth`;
//! 2. `authmod=adobe&user=U`: `?reason=needauth&user=U&salt=S&challenge=C&opaque=O`;
//! 3. and `challenge=D&response=R&opaque=O`, where D is the client's own and R is
//!    `base64(md5(base64(md5(U + S + password)) + O + D))`: the connection is accepted.
//!
//! Nothing is kept in between: O says when and for whom it was made, and is authenticated by a key of this process. A
//! client that knows no opaque value takes the challenge in its place, so both are the same.

use std::{net::IpAddr, sync::Arc};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{Cause, KeyRing, shown::Shown, users::Accounts};

/// Makes challenges, and checks answers to them.
pub(super) struct Challenges {
    mac: Hmac<Sha256>,
}

/// Why a connection is refused: the description for the client.
pub(super) type Refusal = (Cause, String);

impl Challenges {
    pub(super) fn new(ring: &KeyRing) -> Self {
        let mac = Hmac::new_from_slice(ring.challenge_key()).expect("HMAC takes a key of any length");
        Self { mac }
    }

    /// The user that a client has proved to be, or what it is sent instead.
    pub(super) fn check(
        &self,
        shown: &Shown<'_>,
        accounts: &Accounts,
        peer: IpAddr,
        now: u64,
    ) -> Result<Arc<str>, Refusal> {
        let failed = || (Cause::WrongCredentials, format!("{REJECT} [ authmod=adobe ] : ?reason=authfailed"));
        if shown.authmod != Some("adobe") {
            let text = format!("{REJECT} [ code=403 need auth; authmod=adobe ] : ");
            return Err((Cause::NoCredentials, text));
        }
        let user = shown.user.filter(|user| is_plain(user)).ok_or_else(failed)?;
        let salt = self.salt(user);
        let Some(response) = shown.response else {
            let opaque = self.opaque(user, peer, now);
            let text = format!(
                "{REJECT} [ authmod=adobe ] : \
                 ?reason=needauth&user={user}&salt={salt}&challenge={opaque}&opaque={opaque}"
            );
            return Err((Cause::NoCredentials, text));
        };
        let opaque =
            shown.opaque.filter(|opaque| self.is_ours(opaque, user, peer, now)).ok_or_else(failed)?;
        let own = shown.challenge.unwrap_or_default();
        if response.len() > MAX_RESPONSE_BYTES || own.len() > MAX_RESPONSE_BYTES {
            return Err(failed());
        }
        let is_right = |password: &str| {
            let right = answer(user, &salt, password, opaque, own);
            right.as_bytes().ct_eq(response.as_bytes()).into()
        };
        accounts.prove(user, is_right).ok_or_else(failed)
    }

    /// The same for each challenge, so that it tells nothing about whether the user exists.
    fn salt(&self, user: &str) -> String {
        let mac = self.mac.clone().chain_update("salt\n").chain_update(user).finalize().into_bytes();
        BASE64_URL_SAFE_NO_PAD.encode(&mac[..6])
    }

    fn opaque(&self, user: &str, peer: IpAddr, now: u64) -> String {
        let mut bytes = [0; OPAQUE_BYTES];
        // Until the year 2106.
        let made = (now as u32).to_be_bytes();
        bytes[..4].copy_from_slice(&made);
        bytes[4..].copy_from_slice(&self.mac_of(made, user, peer));
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn is_ours(&self, opaque: &str, user: &str, peer: IpAddr, now: u64) -> bool {
        let mut bytes = [0; OPAQUE_BYTES];
        if opaque.len() != OPAQUE_CHARACTERS
            || BASE64_URL_SAFE_NO_PAD.decode_slice(opaque, &mut bytes).is_err()
        {
            return false;
        }
        let (made, mac) = bytes.split_at(4);
        let made: [u8; 4] = made.try_into().expect("4 bytes");
        let is_authentic: bool = self.mac_of(made, user, peer).ct_eq(mac).into();
        let age = now.checked_sub(u32::from_be_bytes(made).into());
        is_authentic && age.is_some_and(|age| age <= VALID_SECONDS)
    }

    fn mac_of(&self, made: [u8; 4], user: &str, peer: IpAddr) -> [u8; 16] {
        let peer = peer.to_canonical().to_string();
        let mac =
            self.mac.clone().chain_update(made).chain_update(peer).chain_update("\n").chain_update(user);
        mac.finalize().into_bytes()[..16].try_into().expect("32 bytes are more")
    }
}

/// What a client that knows the password answers.
pub(super) fn answer(user: &str, salt: &str, password: &str, opaque: &str, own: &str) -> String {
    let inner = Md5::new().chain_update(user).chain_update(salt).chain_update(password).finalize();
    let outer = Md5::new().chain_update(BASE64_STANDARD.encode(inner)).chain_update(opaque).chain_update(own);
    BASE64_STANDARD.encode(outer.finalize())
}

/// A name that can be a parameter of an address and a part of a log line as it is. FFmpeg takes 49 bytes.
fn is_plain(user: &str) -> bool {
    user.len() <= MAX_USER_BYTES
        && user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~@+".contains(&byte))
}

/// With what Adobe's servers begin a description.
const REJECT: &str = "[ AccessManager.Reject ] :";
/// A time and a code for it.
const OPAQUE_BYTES: usize = 4 + 16;
const OPAQUE_CHARACTERS: usize = 27;
/// 16 bytes in base64 are 24; the client's own challenge has 8.
const MAX_RESPONSE_BYTES: usize = 64;
/// FFmpeg reads 255 bytes of a description.
const MAX_USER_BYTES: usize = 64;
/// A client reconnects at once.
const VALID_SECONDS: u64 = 60;
