// Owns what the gateways must have accepted and refused, by keeping the highest committed authority of each database.
// Must never: ask the admission rules. It compares incarnations and numbers itself.
// Invariant: what it knows is what is committed, or what was acknowledged, never what was only attempted.

import FencingCore

struct FenceChecker {
  private struct Highest {
    var incarnation: Int64
    var number: Int64
    var holder: String
  }

  private var highest: [Highest?]
  private let scopes: Int

  init(gateways: Int, scopes: Int) {
    self.scopes = scopes
    highest = Array(repeating: nil, count: gateways * scopes)
  }

  private func isBelow(_ claims: FenceClaims, _ other: Highest) -> Bool {
    if claims.incarnation.rawValue != other.incarnation { return claims.incarnation.rawValue < other.incarnation }
    return claims.number.rawValue < other.number
  }

  /// A transaction of a gateway is durable: in the order in which it carried them out.
  mutating func committed(_ claims: FenceClaims, scope: Int, by gateway: Int) throws(Broken) {
    let position = gateway * scopes + scope
    if let known = highest[position] {
      let isEqual = claims.incarnation.rawValue == known.incarnation && claims.number.rawValue == known.number
      guard !isBelow(claims, known) else {
        throw Broken(
          "a gateway's accepted numbers never fall",
          "gateway \(gateway + 1) accepted \(claims.authority) of \(claims.holder) after incarnation "
            + "\(known.incarnation), number \(known.number) of \(known.holder)")
      }
      guard !isEqual || claims.holder == known.holder else {
        throw Broken("a number has one holder", "\(claims.holder) and \(known.holder) wrote under \(claims.authority)")
      }
    }
    highest[position] = Highest(
      incarnation: claims.incarnation.rawValue, number: claims.number.rawValue, holder: claims.holder)
  }

  /// Whoever has the highest authority, or a higher one, is never refused.
  func refused(_ claims: FenceClaims, scope: Int, by gateway: Int) throws(Broken) {
    guard let known = highest[gateway * scopes + scope], isBelow(claims, known) else {
      throw Broken(
        "only the stale are refused", "gateway \(gateway + 1) refused \(claims.holder) under \(claims.authority)")
    }
  }

  /// After a crash the floor is at least what was ever acknowledged.
  func recovered(_ floor: Floor?, scope: Int, of gateway: Int) throws(Broken) {
    guard let known = highest[gateway * scopes + scope] else { return }
    guard let floor, floor.incarnation.rawValue == known.incarnation, floor.number.rawValue == known.number else {
      throw Broken(
        "a floor outlives a crash",
        "gateway \(gateway + 1) is at \(floor.map(\.description) ?? "no floor"), it was at incarnation "
          + "\(known.incarnation), number \(known.number)")
    }
  }
}
