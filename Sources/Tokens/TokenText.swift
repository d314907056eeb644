// The text of a token: a compact JWS (RFC 7515) with the claims of a JWT (RFC 7519).
//
// Must never look at a key. Invariants: one header form, `{"alg":"EdDSA","typ":"JWT","kid":…}`, so there is no
// algorithm to choose and nothing to confuse; every claim has one type and one spelling.

package import FencingCore

package enum TokenText {
  package static let maximumBytes = 4096
  package static let issuer = "portcullis"
  package static let audience = "portcullis-fence"
  /// Of tokens that let their holder read alone. A gateway that knows nothing of shares takes no such token at all.
  package static let sharedAudience = "portcullis-fence-read"

  static func header(kid: String) -> String {
    var bytes = Array(#"{"alg":"EdDSA","typ":"JWT","kid":"#.utf8)
    JSONText.append(kid, to: &bytes)
    bytes.append(UInt8(ascii: "}"))
    return Base64URL.encode(bytes)
  }

  static func payload(_ claims: FenceClaims, issuedAtSeconds: Int64, expiresAtSeconds: Int64) -> [UInt8] {
    let audience = claims.isShared ? sharedAudience : audience
    var bytes = Array(#"{"iss":"\#(issuer)","aud":"\#(audience)","iat":\#(issuedAtSeconds)"#.utf8)
    bytes.append(contentsOf: #","exp":\#(expiresAtSeconds),"cluster":"#.utf8)
    JSONText.append(ClusterText.format(claims.cluster), to: &bytes)
    bytes.append(contentsOf: #","incarnation":\#(claims.incarnation),"scope":"#.utf8)
    JSONText.append(claims.scope, to: &bytes)
    bytes.append(contentsOf: #","number":\#(claims.number),"holder":"#.utf8)
    JSONText.append(claims.holder, to: &bytes)
    bytes.append(UInt8(ascii: "}"))
    return bytes
  }

  /// Takes a token apart without verifying it.
  package static func split(_ token: String) throws(TokenError) -> Parts {
    guard token.utf8.count <= maximumBytes else { throw .tooLong(bytes: token.utf8.count, limit: maximumBytes) }
    let sections = token.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard sections.count == 3 else { throw .malformed("it has \(sections.count) sections instead of 3") }
    guard let header = Base64URL.decode(sections[0]), let payload = Base64URL.decode(sections[1]),
      let signature = Base64URL.decode(sections[2])
    else { throw .malformed("a section is not canonical base64url") }
    guard signature.count == 64 else {
      throw .malformed("an Ed25519 signature has 64 bytes, this one has \(signature.count)")
    }
    let signed = Array(token.utf8.prefix(sections[0].count + 1 + sections[1].count))
    return Parts(kid: try kid(header: header), payload: payload, signature: signature, signed: signed)
  }

  package struct Parts: Sendable {
    package let kid: String
    package let payload: [UInt8]
    package let signature: [UInt8]
    package let signed: [UInt8]
  }

  private static func kid(header: [UInt8]) throws(TokenError) -> String {
    let value: JSONValue
    do throws(JSONError) {
      value = try StrictJSON.parse(header)
    } catch {
      throw .malformed("its header is not JSON: \(error)")
    }
    guard case .object(let members) = value else { throw .wrongHeader("it is not an object") }
    guard value["alg"] == .string("EdDSA") else { throw .wrongHeader("its alg is not EdDSA") }
    guard value["typ"] == .string("JWT") else { throw .wrongHeader("its typ is not JWT") }
    guard let kid = value["kid"]?.string, !kid.isEmpty else { throw .wrongHeader("it has no kid") }
    guard members.count == 3 else { throw .wrongHeader("it has members beyond alg, typ and kid") }
    return kid
  }

  /// Reads the claims of a payload whose signature was verified.
  package static func claims(payload: [UInt8], kid: String) throws(TokenError) -> VerifiedToken {
    let value: JSONValue
    do throws(JSONError) {
      value = try StrictJSON.parse(payload)
    } catch {
      throw .malformed("its payload is not JSON: \(error)")
    }
    guard value["iss"] == .string(issuer) else { throw .wrongClaim(name: "iss", problem: "it is not \(issuer)") }
    let isShared = value["aud"] == .string(sharedAudience)
    guard isShared || value["aud"] == .string(audience) else {
      throw .wrongClaim(name: "aud", problem: "it is not \(audience)")
    }
    guard let cluster = ClusterText.parse(try string("cluster", in: value)) else {
      throw .wrongClaim(name: "cluster", problem: "it is not 16 lower-case hexadecimal digits")
    }
    guard let incarnation = Incarnation(try integer("incarnation", in: value)) else {
      throw .wrongClaim(name: "incarnation", problem: "it is negative")
    }
    guard let number = GrantNumber(try integer("number", in: value)) else {
      throw .wrongClaim(name: "number", problem: "it is not above zero")
    }
    return VerifiedToken(
      claims: FenceClaims(
        cluster: cluster, incarnation: incarnation, scope: try string("scope", in: value), number: number,
        holder: try string("holder", in: value), isShared: isShared),
      issuedAtSeconds: try integer("iat", in: value), expiresAtSeconds: try integer("exp", in: value), kid: kid)
  }

  private static func string(_ name: String, in value: JSONValue) throws(TokenError) -> String {
    guard let text = value[name]?.string, !text.isEmpty else {
      throw .wrongClaim(name: name, problem: "it is missing, empty or not a string")
    }
    return text
  }

  private static func integer(_ name: String, in value: JSONValue) throws(TokenError) -> Int64 {
    guard let number = value[name]?.integer else {
      throw .wrongClaim(name: name, problem: "it is missing or not an integer")
    }
    return number
  }
}

/// A token whose signature and claims were verified.
package struct VerifiedToken: Sendable, Hashable {
  package let claims: FenceClaims
  package let issuedAtSeconds: Int64
  package let expiresAtSeconds: Int64
  /// The key that signed it.
  package let kid: String

  /// The cluster as it is written everywhere.
  package var clusterText: String { ClusterText.format(claims.cluster) }

  /// Expiry limits how long a token that leaked can be abused. It is never the safety argument: a stale token is
  /// refused by the floor, whatever any clock says. So a wide leeway costs nothing, and a token "from the
  /// future" is no reason to refuse one whose signature holds.
  package func checkExpiry(nowSeconds: Int64, leewaySeconds: Int64) throws(TokenError) {
    let (limit, overflow) = expiresAtSeconds.addingReportingOverflow(leewaySeconds)
    guard overflow || nowSeconds <= limit else {
      throw .expired(atSeconds: expiresAtSeconds, nowSeconds: nowSeconds)
    }
  }
}
