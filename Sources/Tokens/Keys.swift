// Ed25519 keys: the pair that a node signs with, and the public half that anybody verifies with.
//
// Must never write the private half anywhere but into `rawRepresentation`, which its caller stores.
// Invariant: a key's id is the RFC 7638 thumbprint of its public half, so one id can never name two keys.

import Crypto
package import FencingCore
import FoundationEssentials

/// The private key with which a node signs tokens.
package struct SigningKey: Sendable {
  private let key: Curve25519.Signing.PrivateKey
  package let publicKey: VerifyingKey

  package var kid: String { publicKey.kid }

  /// Generates a key.
  package init() {
    self.init(key: Curve25519.Signing.PrivateKey())
  }

  /// Restores a key from the 32 bytes that `rawRepresentation` gave.
  package init(rawRepresentation: [UInt8]) throws(TokenError) {
    guard rawRepresentation.count == VerifyingKey.size else {
      throw .invalidKey("a private key has \(VerifyingKey.size) bytes, these are \(rawRepresentation.count)")
    }
    do {
      self.init(key: try Curve25519.Signing.PrivateKey(rawRepresentation: rawRepresentation))
    } catch {
      throw .invalidKey("these bytes are not an Ed25519 private key")
    }
  }

  private init(key: Curve25519.Signing.PrivateKey) {
    self.key = key
    self.publicKey = VerifyingKey(key: key.publicKey)
  }

  package var rawRepresentation: [UInt8] { Array(key.rawRepresentation) }

  /// Signs `claims` into a compact JWT.
  package func sign(
    _ claims: FenceClaims, issuedAtSeconds: Int64, expiresAtSeconds: Int64
  ) throws(TokenError) -> String {
    let payload = TokenText.payload(claims, issuedAtSeconds: issuedAtSeconds, expiresAtSeconds: expiresAtSeconds)
    let signed = TokenText.header(kid: kid) + "." + Base64URL.encode(payload)
    let signature: Data
    do {
      signature = try key.signature(for: Array(signed.utf8))
    } catch {
      throw .signingFailed("\(error)")
    }
    let token = signed + "." + Base64URL.encode(signature)
    guard token.utf8.count <= TokenText.maximumBytes else {
      throw .tooLong(bytes: token.utf8.count, limit: TokenText.maximumBytes)
    }
    return token
  }
}

/// The public key with which a node's tokens are verified.
package struct VerifyingKey: Sendable, Hashable {
  package static let size = 32

  private let key: Curve25519.Signing.PublicKey
  package let kid: String
  /// The 32 bytes of the key.
  package let rawRepresentation: [UInt8]

  package init(rawRepresentation: [UInt8]) throws(TokenError) {
    guard rawRepresentation.count == Self.size else {
      throw .invalidKey("a public key has \(Self.size) bytes, these are \(rawRepresentation.count)")
    }
    do {
      self.init(key: try Curve25519.Signing.PublicKey(rawRepresentation: rawRepresentation))
    } catch {
      throw .invalidKey("these bytes are not an Ed25519 public key")
    }
  }

  fileprivate init(key: Curve25519.Signing.PublicKey) {
    self.key = key
    let raw = Array(key.rawRepresentation)
    self.rawRepresentation = raw
    // RFC 7638 section 3: the required members alone, in alphabetical order, without white space.
    let canonical = #"{"crv":"Ed25519","kty":"OKP","x":""# + Base64URL.encode(raw) + #""}"#
    self.kid = Base64URL.encode(SHA256.hash(data: Array(canonical.utf8)))
  }

  /// The key as a JWK (RFC 7517, RFC 8037).
  package var jwk: String { jwk(with: "") }

  /// - Parameter more: further members, each with a comma before it.
  func jwk(with more: String) -> String {
    let x = Base64URL.encode(rawRepresentation)
    return #"{"kty":"OKP","crv":"Ed25519","x":"\#(x)","kid":"\#(kid)","use":"sig","alg":"EdDSA"\#(more)}"#
  }

  func isValid(signature: [UInt8], for bytes: [UInt8]) -> Bool {
    key.isValidSignature(signature, for: bytes)
  }

  package static func == (left: Self, right: Self) -> Bool { left.rawRepresentation == right.rawRepresentation }

  package func hash(into hasher: inout Hasher) { hasher.combine(rawRepresentation) }
}
