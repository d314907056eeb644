// What a token claims, and what a database remembers of the highest claim it was told of.
//
// Must never verify a signature or read a clock: `Tokens` does that before claims exist. Claims that reach this
// room are those of a verified token.

/// The claims of a verified token.
package struct FenceClaims: Sendable, Hashable {
  package let cluster: UInt64
  package let incarnation: Incarnation
  package let scope: String
  package let number: GrantNumber
  package let holder: String
  /// The holder shares its scope with others: it may read under the token, and not write.
  package let isShared: Bool

  package init(
    cluster: UInt64, incarnation: Incarnation, scope: String, number: GrantNumber, holder: String,
    isShared: Bool = false
  ) {
    self.isShared = isShared
    self.cluster = cluster
    self.incarnation = incarnation
    self.scope = scope
    self.number = number
    self.holder = holder
  }

  package var authority: Authority { Authority(incarnation: incarnation, number: number) }

  /// The floor that a database has once it was told of these claims.
  package var floor: Floor {
    Floor(cluster: cluster, incarnation: incarnation, number: number, holder: holder)
  }
}

/// The highest number that a database has been told of for one scope, with the cluster that it is pinned to.
package struct Floor: Sendable, Hashable, CustomStringConvertible {
  package let cluster: UInt64
  package let incarnation: Incarnation
  package let number: GrantNumber
  package let holder: String

  package init(cluster: UInt64, incarnation: Incarnation, number: GrantNumber, holder: String) {
    self.cluster = cluster
    self.incarnation = incarnation
    self.number = number
    self.holder = holder
  }

  package var authority: Authority { Authority(incarnation: incarnation, number: number) }

  package var description: String { "\(authority), held by \"\(holder)\"" }
}

/// What a protected database is bound to: the scope whose tokens it takes, and the cluster that an operator has
/// told it to move to, if any.
package struct ScopeBinding: Sendable, Hashable {
  package let scope: String

  /// A cluster is pinned at first use. Only this one, named by an operator, may take the place of a pinned one.
  package let adoptedCluster: UInt64?

  package init(scope: String, adoptedCluster: UInt64? = nil) {
    self.scope = scope
    self.adoptedCluster = adoptedCluster
  }
}

/// The form in which a cluster id is written everywhere: 16 lower-case hexadecimal digits. A JSON number would
/// lose the upper bits in readers that know only doubles.
package enum ClusterText {
  package static func format(_ cluster: UInt64) -> String {
    let digits = String(cluster, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  /// Answers `nil` for anything but exactly what `format` writes.
  package static func parse(_ text: String) -> UInt64? {
    guard text.utf8.count == 16, let cluster = UInt64(text, radix: 16), format(cluster) == text else { return nil }
    return cluster
  }
}
