// Keys, key sets and the cache of verified tokens.

import FencingCore
import Testing
import Tokens

private let now: Int64 = 1_800_000_000

private func claims(_ number: Int64) throws -> FenceClaims {
  FenceClaims(
    cluster: 1, incarnation: try #require(Incarnation(Int64(0))), scope: "s", number: try #require(GrantNumber(number)),
    holder: "h")
}

@Suite("Key sets")
struct KeySetTests {
  /// The key of RFC 8037, appendix A.
  private let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
  private let secret = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"

  @Test("the key, thumbprint and signature of RFC 8037's appendix come out")
  func published() throws {
    let key = try SigningKey(rawRepresentation: try #require(Base64URL.decode(secret.utf8)))
    #expect(Base64URL.encode(key.publicKey.rawRepresentation) == x)
    #expect(key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
  }

  @Test("a key is restored from its bytes and signs as before")
  func restore() throws {
    let key = SigningKey()
    let restored = try SigningKey(rawRepresentation: key.rawRepresentation)
    #expect(restored.kid == key.kid)
    let token = try restored.sign(try claims(1), issuedAtSeconds: now, expiresAtSeconds: now)
    #expect(try KeySet([key.publicKey]).verify(token, nowSeconds: now) == claims(1))
    #expect(throws: TokenError.self) { try SigningKey(rawRepresentation: [1, 2, 3]) }
    #expect(throws: TokenError.self) { try VerifyingKey(rawRepresentation: []) }
  }

  @Test("a key set is written as a JWKS and read back")
  func roundTrip() throws {
    let set = KeySet([SigningKey().publicKey, SigningKey().publicKey])
    #expect(try KeySet(jwks: set.jwksJSON()) == set)
    #expect(try KeySet(jwks: KeySet([]).jwksJSON()).keys.isEmpty)
    #expect(KeySet(set.keys + set.keys) == set)
  }

  @Test("keys of other kinds and for other uses are skipped")
  func others() throws {
    let jwks = """
      {"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"OKP","crv":"X25519","x":"\(x)"},
      {"kty":"OKP","crv":"Ed25519","x":"\(x)","use":"enc"},{"kty":"OKP","crv":"Ed25519","x":"\(x)","alg":"ES256"},
      {"kty":"OKP","crv":"Ed25519","x":"\(x)"}],"other":1}
      """
    #expect(try KeySet(jwks: jwks).keys.map(\.kid) == ["kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"])
  }

  @Test(
    "a damaged or misnamed key is an error, not a silence",
    arguments: [
      "", "{}", #"{"keys":{}}"#, #"{"keys":[{"kty":"OKP","crv":"Ed25519"}]}"#,
      #"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AQAB"}]}"#,
      #"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"mine"}]}"#,
    ])
  func damaged(jwks: String) {
    #expect(throws: TokenError.self) { try KeySet(jwks: jwks) }
  }
}

@Suite("Keys that vouch for what was granted until their node went")
struct RetiredKeyTests {
  @Test("they verify numbers up to theirs and no higher, also from a set that was written and read, and in the cache")
  func bound() throws {
    let (gone, here) = (SigningKey(), SigningKey())
    let last = Authority(
      incarnation: try #require(Incarnation(Int64(0))), number: try #require(GrantNumber(Int64(7))))
    let unbounded = KeySet([gone.publicKey, here.publicKey])
    let set = KeySet(unbounded.keys, lastAuthority: [gone.kid: last])
    let again = try KeySet(jwks: set.jwksJSON())
    #expect(again == set && set != unbounded)
    func token(_ number: Int64, by key: SigningKey) throws -> String {
      try key.sign(try claims(number), issuedAtSeconds: now, expiresAtSeconds: now + 60)
    }
    for keys in [set, again] {
      #expect(try keys.verify(token(7, by: gone), nowSeconds: now) == claims(7))
      #expect(try keys.verify(token(8, by: here), nowSeconds: now) == claims(8))
      #expect {
        try keys.verify(token(8, by: gone), nowSeconds: now)
      } throws: {
        guard case .keyIsRetired(gone.kid, _, _)? = $0 as? TokenError else { return false }
        return "\($0)".contains("number 7")
      }
    }
    var cache = VerifiedTokenCache(capacity: 4)
    let late = try token(8, by: gone)
    cache.insert(try unbounded.verifiedToken(late, nowSeconds: now), for: late)
    #expect(throws: TokenError.self) { try cache.claims(of: late, keys: set, nowSeconds: now) }
  }

  @Test(
    "a bound that cannot be read is an error",
    arguments: ["7", #"{"number":7}"#, #"{"incarnation":0,"number":0}"#, #"{"incarnation":-1,"number":7}"#])
  func damaged(bound: String) {
    let jwks = KeySet([SigningKey().publicKey]).jwksJSON()
      .replacing(#""alg":"EdDSA""#, with: #""alg":"EdDSA","portcullis_last":\#(bound)"#)
    #expect(throws: TokenError.self) { try KeySet(jwks: jwks) }
  }
}

@Suite("The cache of verified tokens")
struct VerifiedTokenCacheTests {
  let key = SigningKey()

  private func token(_ number: Int64) throws -> String {
    try key.sign(try claims(number), issuedAtSeconds: now, expiresAtSeconds: now + 60)
  }

  @Test("a token that was verified is answered from memory until it expires")
  func hit() throws {
    var cache = VerifiedTokenCache(capacity: 4)
    let keys = KeySet([key.publicKey])
    let token = try token(1)
    #expect(try cache.claims(of: token, keys: keys, nowSeconds: now) == nil)
    cache.insert(try keys.verifiedToken(token, nowSeconds: now), for: token)
    #expect(try cache.claims(of: token, keys: keys, nowSeconds: now) == claims(1))
    #expect(throws: TokenError.self) { try cache.claims(of: token, keys: keys, nowSeconds: now + 1000) }
  }

  @Test("a token whose key has left the key set is no longer answered")
  func revoked() throws {
    var cache = VerifiedTokenCache(capacity: 4)
    let keys = KeySet([key.publicKey])
    let token = try token(1)
    cache.insert(try keys.verifiedToken(token, nowSeconds: now), for: token)
    #expect(try cache.claims(of: token, keys: KeySet([SigningKey().publicKey]), nowSeconds: now) == nil)
  }

  @Test("the oldest entries make room, and the bound holds")
  func bounded() throws {
    var cache = VerifiedTokenCache(capacity: 3)
    let keys = KeySet([key.publicKey])
    var tokens: [String] = []
    for number in 1...8 as ClosedRange<Int64> {
      let token = try token(number)
      tokens.append(token)
      cache.insert(try keys.verifiedToken(token, nowSeconds: now), for: token)
      #expect(cache.count <= 3)
    }
    for (index, token) in tokens.enumerated() {
      let remembered = try cache.claims(of: token, keys: keys, nowSeconds: now)
      #expect((remembered != nil) == (index >= 5))
    }
  }
}
