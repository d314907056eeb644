// The admission rules: whether a write under some claims may reach a database with some floor.
//
// Must never be bypassed: the gateway asks here for every write, raise and fenced read, and does what the verdict
// says in the same transaction. Invariants: a verdict never lowers a floor within a cluster, and two holders
// never pass with the same number.

/// What the rules say about one set of claims.
package enum Verdict: Sendable, Hashable {
  /// The claims are those of the floor itself: the write may pass and the floor stays.
  case accept
  /// The claims are above the floor (or the first ever): the write may pass together with the new floor.
  case raise(to: Floor)
  /// Nothing may change.
  case refuse(Refusal)
}

/// Why claims were refused: what was seen, what was presented.
package enum Refusal: Error, Sendable, Hashable {
  /// A higher number of the same incarnation is known.
  case stale(seen: Floor, presented: FenceClaims)
  /// A higher incarnation of the same cluster is known: the presented grant is from before a restore.
  case lowerIncarnation(seen: Floor, presented: FenceClaims)
  /// The number is taken by another holder. One number has one holder, so one of the two was forged or misrouted.
  case otherHolder(seen: Floor, presented: FenceClaims)
  /// The database is pinned to another cluster.
  case otherCluster(seen: Floor, presented: FenceClaims)
  /// The token is about another scope than the one that the database is bound to.
  case wrongScope(bound: String, presented: FenceClaims)

  package var presented: FenceClaims {
    switch self {
    case .stale(_, let presented), .lowerIncarnation(_, let presented), .otherHolder(_, let presented),
      .otherCluster(_, let presented), .wrongScope(_, let presented):
      return presented
    }
  }

  /// Whether nothing below the presented number gets in all the same: the floor is as high or higher.
  package var isBelowFloor: Bool {
    switch self {
    case .stale, .lowerIncarnation, .otherHolder: true
    case .otherCluster, .wrongScope: false
    }
  }

  /// The floor that decided, where there was one.
  package var seen: Floor? {
    switch self {
    case .stale(let seen, _), .lowerIncarnation(let seen, _), .otherHolder(let seen, _), .otherCluster(let seen, _):
      return seen
    case .wrongScope:
      return nil
    }
  }
}

/// Decides over `claims` of a verified token.
///
/// The scope comes first, because a floor of one scope says nothing about another; then the cluster, because
/// numbers of two clusters cannot be compared; then the order of authority.
package func admit(_ claims: FenceClaims, against floor: Floor?, binding: ScopeBinding) -> Verdict {
  guard claims.scope == binding.scope else {
    return .refuse(.wrongScope(bound: binding.scope, presented: claims))
  }
  guard let floor else { return .raise(to: claims.floor) }
  guard claims.cluster == floor.cluster else {
    if claims.cluster == binding.adoptedCluster { return .raise(to: claims.floor) }
    return .refuse(.otherCluster(seen: floor, presented: claims))
  }
  if claims.incarnation < floor.incarnation {
    return .refuse(.lowerIncarnation(seen: floor, presented: claims))
  }
  if claims.authority < floor.authority { return .refuse(.stale(seen: floor, presented: claims)) }
  if claims.authority == floor.authority {
    // Those who share a scope have one number between them, and the floor knows the first.
    return claims.isShared || claims.holder == floor.holder
      ? .accept : .refuse(.otherHolder(seen: floor, presented: claims))
  }
  let raised = claims.floor
  precondition(raised.authority > floor.authority, "a raise must be upwards")
  return .raise(to: raised)
}
