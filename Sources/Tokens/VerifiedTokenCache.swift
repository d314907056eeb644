// Remembers tokens that were verified, because an Ed25519 verification costs more than the write that it guards.
//
// Must never answer for a token whose key has left the key set, or may not vouch for it any more, or whose time is up. Bounded: the oldest entry
// makes room. Not safe for concurrent use; its owner guards it.

package import FencingCore

package struct VerifiedTokenCache: Sendable {
  package let capacity: Int
  private var entries: [String: VerifiedToken] = [:]
  /// The tokens in the order of their arrival, as a ring: `next` is the oldest once the ring is full.
  private var order: [String] = []
  private var next = 0

  package init(capacity: Int) {
    precondition(capacity > 0, "a cache without room is no cache")
    self.capacity = capacity
  }

  package var count: Int { entries.count }

  /// The claims of a token that was verified before, or `nil` where it has to be verified anew.
  package func claims(
    of token: String, keys: KeySet, nowSeconds: Int64, leewaySeconds: Int64 = KeySet.defaultLeewaySeconds
  ) throws(TokenError) -> FenceClaims? {
    try self.token(token, keys: keys, nowSeconds: nowSeconds, leewaySeconds: leewaySeconds)?.claims
  }

  /// What was said of a token that was verified before, or `nil` where it has to be verified anew.
  package func token(
    _ token: String, keys: KeySet, nowSeconds: Int64, leewaySeconds: Int64 = KeySet.defaultLeewaySeconds
  ) throws(TokenError) -> VerifiedToken? {
    guard let verified = entries[token], keys.contains(kid: verified.kid) else { return nil }
    try keys.check(verified)
    try verified.checkExpiry(nowSeconds: nowSeconds, leewaySeconds: leewaySeconds)
    return verified
  }

  /// Remembers what a key set said of `token`.
  package mutating func insert(_ verified: VerifiedToken, for token: String) {
    guard entries.updateValue(verified, forKey: token) == nil else { return }
    if order.count < capacity {
      order.append(token)
      return
    }
    entries.removeValue(forKey: order[next])
    order[next] = token
    next = (next + 1) % capacity
  }
}
