// JWTs by which users say who they are (etcd's `--auth-token jwt`), with etcd's claims: username, revision, exp. They need
// no place in the state; what they are worth is the revision in them, which no change of users and roles survives.
//
// Must never: take another algorithm than the one that was set, whatever a token says of itself.

package import CoordinationCore
import Crypto
import CryptoExtras
import Tokens

package struct SignedTokens: Sendable {
  package struct Claims: Sendable, Equatable {
    package let user: AuthName
    package let authRevision: UInt64
    /// Nil for a token that somebody else signed with our key and that never ends.
    package let expiresAtSeconds: Int64?
  }

  static let maximumBytes = 8192

  private let method: String
  private let key: SigningMethod
  private let lifetimeSeconds: Int64

  /// - Parameters:
  ///   - method: a name of RFC 7518, such as RS256 or ES256, or EdDSA.
  ///   - publicKey: PEM; nil where the private one is there.
  ///   - privateKey: PEM, or for HS256 and its like the secret itself. Nil for a node that only checks tokens.
  /// - Throws: `NodeError.configuration` for keys that do not fit.
  package init(
    method: String, publicKey: Bytes?, privateKey: Bytes?, lifetimeMilliseconds: Int64
  ) throws(NodeError) {
    self.method = method
    key = try SigningMethod(method, publicKey: publicKey, privateKey: privateKey)
    lifetimeSeconds = max(1, lifetimeMilliseconds / 1000)
  }

  /// - Throws: where this node has no private key.
  package func sign(_ user: AuthName, authRevision: UInt64) throws(SigningError) -> String {
    var payload = Bytes(#"{"exp":\#(MachineClock.wallSeconds + lifetimeSeconds),"revision":\#(authRevision)"#.utf8)
    payload += Bytes(#","username":"#.utf8)
    JSONText.append(String(decoding: user.bytes, as: UTF8.self), to: &payload)
    payload.append(UInt8(ascii: "}"))
    let header = Bytes(#"{"alg":"\#(method)","typ":"JWT"}"#.utf8)
    let signed = Base64URL.encode(header) + "." + Base64URL.encode(payload)
    guard let signature = key.signature(of: Array(signed.utf8)) else { throw .verifiesOnly }
    return signed + "." + Base64URL.encode(signature)
  }

  package enum SigningError: Error { case verifiesOnly }

  /// What a token says, if it is one of ours. Whether its time is over is for whoever uses it: claims may be kept.
  package func claims(of token: String) -> Claims? {
    guard token.utf8.count <= Self.maximumBytes else { return nil }
    let parts = token.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 3, let header = Base64URL.decode(parts[0]), let payload = Base64URL.decode(parts[1]),
      let signature = Base64URL.decode(parts[2]), let head = try? StrictJSON.parse(header),
      head["alg"]?.string == method
    else { return nil }
    let signed = Array(token.utf8.prefix(parts[0].count + 1 + parts[1].count))
    guard key.isValid(signature, for: signed), let claims = try? StrictJSON.parse(payload),
      let user = claims["username"]?.string, let revision = claims["revision"]?.integer, revision > 0
    else { return nil }
    var expiry: Int64?
    if let claim = claims["exp"] {
      guard let seconds = claim.integer else { return nil }
      expiry = seconds
    }
    return Claims(user: AuthName(Bytes(user.utf8)), authRevision: UInt64(revision), expiresAtSeconds: expiry)
  }
}
