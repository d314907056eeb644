// How users prove who they are, as the command line has it. All nodes of a cluster are to have the same: a node takes the
// tokens of the others.

package struct AuthConfiguration: Sendable {
  package enum Tokens: Sendable {
    /// Random ones that the replicated state knows: etcd's `simple`.
    case simple
    /// Signed ones that carry the user's name: etcd's `jwt`.
    case signed(SignedTokens)
  }

  package var tokens = Tokens.simple
  /// How long a simple token is good for without being used.
  package var tokenLifetimeMilliseconds: Int64 = 300_000
  /// What it costs to make or check a hash of a password, on the scale of bcrypt (see `PasswordHash.rounds`).
  package var passwordCost = 10

  package init() {}
}
