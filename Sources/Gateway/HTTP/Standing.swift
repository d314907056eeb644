// What the core says of a scope at this moment, and the two places where a gateway asks: before each write of a database
// that was declared so, and for a scope that is closed.
//
// Must never take silence for consent: a core that cannot be reached opens nothing, and passes no write that asks for it.

package import FencingCore

/// The core's word on one scope, read linearizably.
package struct Standing: Sendable, Hashable {
  package struct Grant: Sendable, Hashable {
    package let number: GrantNumber
    package let holder: String

    package init(number: GrantNumber, holder: String) {
      self.number = number
      self.holder = holder
    }
  }

  package let cluster: UInt64
  package let incarnation: Incarnation
  /// Who holds the scope now, and under which number.
  package let current: Grant?
  /// The highest number ever granted for the scope.
  package let lastNumber: GrantNumber?

  package init(cluster: UInt64, incarnation: Incarnation, current: Grant?, lastNumber: GrantNumber?) {
    self.cluster = cluster
    self.incarnation = incarnation
    self.current = current
    self.lastNumber = lastNumber
  }

  func confirms(_ claims: FenceClaims) -> Bool {
    claims.cluster == cluster && claims.incarnation == incarnation && claims.number == current?.number
      && claims.holder == current?.holder
  }

  /// The claims at which a closed scope opens. Where nobody holds it, nobody is named: every token up to the last number
  /// is refused then, and the next grant's is higher. A scope that this incarnation never granted begins below all.
  func seed(of scope: String) -> FenceClaims {
    let number = current?.number ?? lastNumber ?? GrantNumber.lowest
    return FenceClaims(
      cluster: cluster, incarnation: incarnation, scope: scope, number: number, holder: current?.holder ?? "")
  }
}

/// Where the gateway asks what is current.
package protocol AuthorityStandings: Sendable {
  func standing(of scope: String) async throws -> Standing
}
