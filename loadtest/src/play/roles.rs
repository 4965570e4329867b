//! Who of many players does what.

/// What a player does once it sees a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads all, and looks at each frame.
    Checks,
    /// Takes all, and looks at nothing.
    Drains,
    /// Ceases to read for a while, or for good.
    Stalls,
    /// Reads at a rate of its own.
    ReadsSlowly,
    /// Leaves and comes back.
    ComesAndGoes,
}

/// Which share of the players does what, 0 to 1 each; the rest are drained.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(missing_docs)]
pub struct Shares {
    pub checks: f64,
    pub stalls: f64,
    pub reads_slowly: f64,
    pub comes_and_goes: f64,
}

impl Shares {
    /// # Errors
    /// What is wrong with them, as one line.
    pub fn check(&self) -> Result<(), String> {
        let Self { checks, stalls, reads_slowly, comes_and_goes } = *self;
        let shares = [checks, stalls, reads_slowly, comes_and_goes];
        let are_shares = shares.iter().all(|share| (0.0..=1.0).contains(share));
        match are_shares && shares.iter().sum::<f64>() <= 1.0 + 1e-9 {
            true => Ok(()),
            false => Err("shares are 0 to 1 each, and 1 at most together".to_owned()),
        }
    }

    /// The roles of `players`, each spread evenly over all of them. A share above 0 is one player at least, if there
    /// is one left.
    pub fn roles(&self, players: usize) -> Vec<Role> {
        let wanted = [
            (Role::Checks, self.checks),
            (Role::Stalls, self.stalls),
            (Role::ReadsSlowly, self.reads_slowly),
            (Role::ComesAndGoes, self.comes_and_goes),
        ];
        let mut roles = vec![Role::Drains; players];
        for (role, share) in wanted {
            let count = (share * players as f64 - 1e-9).ceil().max(0.0) as usize;
            for i in 0..count.min(players) {
                let from = i * players / count;
                let free =
                    (0..players).map(|step| (from + step) % players).find(|&at| roles[at] == Role::Drains);
                if let Some(free) = free {
                    roles[free] = role;
                }
            }
        }
        roles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(roles: &[Role], role: Role) -> usize {
        roles.iter().filter(|it| **it == role).count()
    }

    #[test]
    fn roles_have_their_shares_and_are_spread_evenly() {
        let shares = Shares { checks: 0.02, stalls: 0.1, reads_slowly: 0.1, comes_and_goes: 0.2 };
        let roles = shares.roles(1000);
        let counts = [Role::Checks, Role::Stalls, Role::ReadsSlowly, Role::ComesAndGoes, Role::Drains];
        assert_eq!(counts.map(|role| count(&roles, role)), [20, 100, 100, 200, 580]);
        for hundred in roles.chunks(100) {
            assert_eq!(count(hundred, Role::Checks), 2);
            assert!((15..=25).contains(&count(hundred, Role::ComesAndGoes)));
        }
    }

    #[test]
    fn the_smallest_share_is_one_player() {
        let shares = Shares { checks: 0.02, ..Shares::default() };
        assert_eq!(shares.roles(3), [Role::Checks, Role::Drains, Role::Drains]);
        assert_eq!(shares.roles(0), []);
        assert_eq!(Shares { checks: 1.0, ..Shares::default() }.roles(2), [Role::Checks; 2]);
    }

    #[test]
    fn shares_beyond_the_whole_are_refused() {
        assert!(Shares { checks: 0.5, stalls: 0.5, ..Shares::default() }.check().is_ok());
        assert!(Shares { checks: 0.6, stalls: 0.5, ..Shares::default() }.check().is_err());
        assert!(Shares { checks: -0.1, ..Shares::default() }.check().is_err());
    }
}
