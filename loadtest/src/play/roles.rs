//! The roles of players, and how many have each.

/// What a player does after its first key frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads everything, and checks each frame.
    Checks,
    /// Has the kernel discard everything; only bytes are counted.
    Drains,
    /// Stops reading for a while, or for ever.
    Stalls,
    /// Reads at a limited rate.
    ReadsSlowly,
    /// Disconnects and reconnects.
    Churns,
}

/// Share of the players with each role, 0 to 1; the rest are drained.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(missing_docs)]
pub struct Shares {
    pub checks: f64,
    pub stalls: f64,
    pub reads_slowly: f64,
    pub churns: f64,
}

impl Shares {
    /// # Errors
    /// Shares that are out of range, as one line.
    pub fn check(&self) -> Result<(), String> {
        let Self { checks, stalls, reads_slowly, churns } = *self;
        let shares = [checks, stalls, reads_slowly, churns];
        let are_shares = shares.iter().all(|share| (0.0..=1.0).contains(share));
        match are_shares && shares.iter().sum::<f64>() <= 1.0 + 1e-9 {
            true => Ok(()),
            false => Err("shares must be 0 to 1 each, and at most 1 in total".to_owned()),
        }
    }

    /// The role of each of `players` players; each role is spread evenly. A share above 0 is at least one player, if one is
    /// left.
    pub fn roles(&self, players: usize) -> Vec<Role> {
        let wanted = [
            (Role::Checks, self.checks),
            (Role::Stalls, self.stalls),
            (Role::ReadsSlowly, self.reads_slowly),
            (Role::Churns, self.churns),
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
    fn roles_are_assigned_by_share_and_spread_evenly() {
        let shares = Shares { checks: 0.02, stalls: 0.1, reads_slowly: 0.1, churns: 0.2 };
        let roles = shares.roles(1000);
        let counts = [Role::Checks, Role::Stalls, Role::ReadsSlowly, Role::Churns, Role::Drains];
        assert_eq!(counts.map(|role| count(&roles, role)), [20, 100, 100, 200, 580]);
        for hundred in roles.chunks(100) {
            assert_eq!(count(hundred, Role::Checks), 2);
            assert!((15..=25).contains(&count(hundred, Role::Churns)));
        }
    }

    #[test]
    fn any_share_above_0_is_at_least_one_player() {
        let shares = Shares { checks: 0.02, ..Shares::default() };
        assert_eq!(shares.roles(3), [Role::Checks, Role::Drains, Role::Drains]);
        assert_eq!(shares.roles(0), []);
        assert_eq!(Shares { checks: 1.0, ..Shares::default() }.roles(2), [Role::Checks; 2]);
    }

    #[test]
    fn shares_above_1_in_total_are_refused() {
        assert!(Shares { checks: 0.5, stalls: 0.5, ..Shares::default() }.check().is_ok());
        assert!(Shares { checks: 0.6, stalls: 0.5, ..Shares::default() }.check().is_err());
        assert!(Shares { checks: -0.1, ..Shares::default() }.check().is_err());
    }
}
