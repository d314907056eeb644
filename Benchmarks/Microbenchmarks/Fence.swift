// The fence: whether a token is one of ours, and whether its number may pass.

import Benchmark
import FencingCore
import Tokens

func fenceBenchmarks() {
  Counting.measure("token-verify", prepare: { try Signed() }) { signed in
    for _ in 0..<Counting.operations { blackHole(try signed.keys.verifiedToken(signed.token, nowSeconds: 100)) }
  }

  // A token that was verified before, which all but the first of a holder's writes show.
  Counting.measure("token-known", prepare: { try Signed() }) { signed in
    for _ in 0..<Counting.operations {
      blackHole(try signed.cache.token(signed.token, keys: signed.keys, nowSeconds: 100))
    }
  }

  Counting.measure("fence-accept", prepare: { try Signed() }) { signed in
    let (floor, binding) = (signed.claims.floor, ScopeBinding(scope: signed.claims.scope))
    for _ in 0..<Counting.operations { blackHole(admit(signed.claims, against: floor, binding: binding)) }
  }

  Counting.measure("fence-refuse", prepare: { try Signed() }) { signed in
    let (floor, binding) = (try Signed.claims(number: 8).floor, ScopeBinding(scope: signed.claims.scope))
    for _ in 0..<Counting.operations { blackHole(admit(signed.claims, against: floor, binding: binding)) }
  }
}

private struct Signed {
  let keys: KeySet
  let token: String
  let claims: FenceClaims
  let cache: VerifiedTokenCache

  init() throws {
    let key = try SigningKey(rawRepresentation: [UInt8](repeating: 9, count: 32))
    keys = KeySet([key.publicKey])
    claims = try Self.claims(number: 7)
    token = try key.sign(claims, issuedAtSeconds: 90, expiresAtSeconds: 1000)
    var cache = VerifiedTokenCache(capacity: 16)
    cache.insert(try keys.verifiedToken(token, nowSeconds: 100), for: token)
    self.cache = cache
  }

  static func claims(number: Int64) throws -> FenceClaims {
    guard let incarnation = Incarnation(Int64(1)), let number = GrantNumber(number) else { throw Unusable() }
    return FenceClaims(
      cluster: 0xabcd, incarnation: incarnation, scope: "inventory", number: number, holder: "worker-1 on host-a")
  }

  private struct Unusable: Error {}
}
