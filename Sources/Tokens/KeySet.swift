// The keys that a verifier trusts, and verification itself.
//
// Must never take a key from a token, and never accept a key whose id is not its own thumbprint.

package import FencingCore

/// A set of public keys, read from and written as a JWKS (RFC 7517).
package struct KeySet: Sendable, Hashable {
  package static let maximumKeys = 1024
  package static let defaultLeewaySeconds: Int64 = 60

  /// In the order in which they were given.
  package let keys: [VerifyingKey]
  /// By key id, the highest authority that a key may vouch for: its node was removed, or has another key since. A key that
  /// is not in here has no such bound.
  package let lastAuthority: [String: Authority]
  private let keyByID: [String: VerifyingKey]

  package init(_ keys: [VerifyingKey], lastAuthority: [String: Authority] = [:]) {
    self.lastAuthority = lastAuthority
    var keyByID: [String: VerifyingKey] = [:]
    var distinct: [VerifyingKey] = []
    for key in keys where keyByID.updateValue(key, forKey: key.kid) == nil { distinct.append(key) }
    self.keys = distinct
    self.keyByID = keyByID
  }

  /// Reads a JWKS. Keys of other types and for other uses are skipped, as RFC 7517 section 5 asks; an Ed25519 key
  /// that is damaged or misnamed is an error, because tokens would be refused for a reason nobody could see.
  package init(jwks: String) throws(TokenError) {
    let value: JSONValue
    do throws(JSONError) {
      value = try StrictJSON.parse(Array(jwks.utf8))
    } catch {
      throw .invalidKey("the key set is not JSON: \(error)")
    }
    guard case .array(let elements)? = value["keys"] else { throw .invalidKey("the key set has no array \"keys\"") }
    guard elements.count <= Self.maximumKeys else {
      throw .invalidKey("the key set has \(elements.count) keys, the limit is \(Self.maximumKeys)")
    }
    var keys: [VerifyingKey] = []
    var lastAuthority: [String: Authority] = [:]
    for element in elements {
      guard let key = try Self.key(jwk: element) else { continue }
      keys.append(key)
      if let bound = element[Self.boundName] { lastAuthority[key.kid] = try Self.authority(bound) }
    }
    self.init(keys, lastAuthority: lastAuthority)
  }

  package func contains(kid: String) -> Bool { keyByID[kid] != nil }

  package func jwksJSON() -> String {
    #"{"keys":["# + keys.map { $0.jwk(with: bound(of: $0)) }.joined(separator: ",") + "]}"
  }

  /// RFC 7517, section 4, has readers skip members that they do not know.
  private static let boundName = "portcullis_last"

  private func bound(of key: VerifyingKey) -> String {
    guard let last = lastAuthority[key.kid] else { return "" }
    return #","\#(Self.boundName)":{"incarnation":\#(last.incarnation),"number":\#(last.number)}"#
  }

  private static func authority(_ bound: JSONValue) throws(TokenError) -> Authority {
    guard let incarnation = bound["incarnation"]?.integer.flatMap({ Incarnation($0) }),
      let number = bound["number"]?.integer.flatMap({ GrantNumber($0) })
    else { throw .invalidKey("a key's \"\(boundName)\" is not an incarnation and a number") }
    return Authority(incarnation: incarnation, number: number)
  }

  /// Whether the key that signed a token may vouch for what it says.
  func check(_ verified: VerifiedToken) throws(TokenError) {
    guard let last = lastAuthority[verified.kid], verified.claims.authority > last else { return }
    throw .keyIsRetired(kid: verified.kid, last: "\(last)", presented: "\(verified.claims.authority)")
  }

  /// Verifies the signature first and reads the claims after it.
  package func verify(
    _ token: String, nowSeconds: Int64, leewaySeconds: Int64 = defaultLeewaySeconds
  ) throws(TokenError) -> FenceClaims {
    try verifiedToken(token, nowSeconds: nowSeconds, leewaySeconds: leewaySeconds).claims
  }

  package func verifiedToken(
    _ token: String, nowSeconds: Int64, leewaySeconds: Int64 = defaultLeewaySeconds
  ) throws(TokenError) -> VerifiedToken {
    let parts = try TokenText.split(token)
    guard let key = keyByID[parts.kid] else {
      throw .unknownKey(kid: String(parts.kid.prefix(64)), known: keys.map(\.kid))
    }
    guard key.isValid(signature: parts.signature, for: parts.signed) else { throw .badSignature(kid: parts.kid) }
    let verified = try TokenText.claims(payload: parts.payload, kid: parts.kid)
    try check(verified)
    try verified.checkExpiry(nowSeconds: nowSeconds, leewaySeconds: leewaySeconds)
    return verified
  }

  private static func key(jwk: JSONValue) throws(TokenError) -> VerifyingKey? {
    guard jwk["kty"] == .string("OKP"), jwk["crv"] == .string("Ed25519") else { return nil }
    if let use = jwk["use"], use != .string("sig") { return nil }
    if let algorithm = jwk["alg"], algorithm != .string("EdDSA") { return nil }
    guard let x = jwk["x"]?.string, let raw = Base64URL.decode(x.utf8) else {
      throw .invalidKey("an Ed25519 key's \"x\" is missing or not canonical base64url")
    }
    let key = try VerifyingKey(rawRepresentation: raw)
    if let kid = jwk["kid"], kid != .string(key.kid) {
      throw .invalidKey("a key's id is not its RFC 7638 thumbprint, which is \(key.kid)")
    }
    return key
  }
}
