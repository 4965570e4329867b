//! Users and their passwords.

use std::{collections::HashMap, sync::Arc};

use super::digests::Digests;
use crate::config::Users;

/// Users and their passwords.
pub(super) struct Accounts {
    accounts: HashMap<Arc<str>, Account>,
    /// Compared in place of a user that does not exist, which takes as long.
    unknown: Account,
}

struct Account {
    digests: Digests,
    /// In plain text: Adobe's challenge takes a digest of the password with a salt.
    passwords: Vec<String>,
}

impl Accounts {
    pub(super) fn of(users: &Users) -> Self {
        let account =
            |passwords: &[String]| Account { digests: Digests::of(passwords), passwords: passwords.to_vec() };
        let accounts =
            users.iter().map(|(name, passwords)| (name.as_str().into(), account(passwords.values())));
        Self { accounts: accounts.collect(), unknown: account(&[String::new()]) }
    }

    /// Whether there is this user.
    pub(super) fn contains(&self, user: &str) -> bool {
        self.accounts.contains_key(user)
    }

    /// The user, if this is one of its passwords.
    pub(super) fn check(&self, user: &str, password: &str) -> Option<Arc<str>> {
        let (name, account) = self.find(user);
        account.digests.contains(password).then_some(name).flatten()
    }

    /// The user, if what is computed from one of its passwords is right. The function is called for a user that does not
    /// exist as well, once.
    pub(super) fn prove(&self, user: &str, is_right: impl Fn(&str) -> bool) -> Option<Arc<str>> {
        let (name, account) = self.find(user);
        let found = account.passwords.iter().fold(false, |found, password| found | is_right(password));
        found.then_some(name).flatten()
    }

    fn find(&self, user: &str) -> (Option<Arc<str>>, &Account) {
        match self.accounts.get_key_value(user) {
            Some((name, account)) => (Some(name.clone()), account),
            None => (None, &self.unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secrets;

    #[test]
    fn a_user_has_to_exist_and_to_know_one_of_its_own_passwords() {
        let users = [("ann", &["old", "new"][..]), ("bob", &["bobs"])];
        let users =
            users.map(|(name, passwords)| (name.to_owned(), Secrets::of_texts(passwords.iter().copied())));
        let accounts = Accounts::of(&users.into());
        for (user, password, is_right) in [
            ("ann", "old", true),
            ("ann", "new", true),
            ("bob", "bobs", true),
            ("ann", "bobs", false),
            ("bob", "old", false),
            ("ann", "", false),
            ("eve", "", false),
            ("", "", false),
            ("Ann", "old", false),
            ("ann", "oldnew", false),
        ] {
            let found = accounts.check(user, password);
            assert_eq!(found.as_deref(), is_right.then_some(user), "{user} {password}");
            let found = accounts.prove(user, |known| known == password);
            assert_eq!(found.as_deref(), is_right.then_some(user), "{user} {password}");
        }
    }
}
