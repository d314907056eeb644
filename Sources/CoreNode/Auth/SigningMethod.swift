// The keys and algorithms of signed tokens, by their names in RFC 7518 and RFC 8037.

import CoordinationCore
import Crypto
import CryptoExtras
import Foundation

enum SigningMethod: Sendable {
  enum Hash: Sendable { case sha256, sha384, sha512 }

  case hmac(SymmetricKey, Hash)
  case rsa(_RSA.Signing.PrivateKey?, _RSA.Signing.PublicKey, _RSA.Signing.Padding, Hash)
  case p256(P256.Signing.PrivateKey?, P256.Signing.PublicKey)
  case p384(P384.Signing.PrivateKey?, P384.Signing.PublicKey)
  case p521(P521.Signing.PrivateKey?, P521.Signing.PublicKey)
  case ed25519(Curve25519.Signing.PrivateKey?, Curve25519.Signing.PublicKey)

  private struct Unusable: Error { let text: String }

  init(_ method: String, publicKey: Bytes?, privateKey: Bytes?) throws(NodeError) {
    guard publicKey != nil || privateKey != nil else {
      throw .configuration("--auth-token jwt needs priv-key=FILE, or pub-key=FILE for a node that only checks tokens")
    }
    do {
      self = try Self.make(method, Self.text(publicKey), Self.text(privateKey), secret: privateKey)
    } catch let error as Unusable {
      throw .configuration("--auth-token: \(error.text)")
    } catch {
      throw .configuration("--auth-token: a key is no PEM file of a key for \(method) (\(error))")
    }
  }

  private static func text(_ bytes: Bytes?) -> String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

  private static func make(
    _ method: String, _ publicPEM: String?, _ privatePEM: String?, secret: Bytes?
  ) throws -> SigningMethod {
    switch method {
    case "HS256": return .hmac(try symmetric(secret, method), .sha256)
    case "HS384": return .hmac(try symmetric(secret, method), .sha384)
    case "HS512": return .hmac(try symmetric(secret, method), .sha512)
    case "RS256": return try rsa(publicPEM, privatePEM, .insecurePKCS1v1_5, .sha256)
    case "RS384": return try rsa(publicPEM, privatePEM, .insecurePKCS1v1_5, .sha384)
    case "RS512": return try rsa(publicPEM, privatePEM, .insecurePKCS1v1_5, .sha512)
    case "PS256": return try rsa(publicPEM, privatePEM, .PSS, .sha256)
    case "PS384": return try rsa(publicPEM, privatePEM, .PSS, .sha384)
    case "PS512": return try rsa(publicPEM, privatePEM, .PSS, .sha512)
    case "ES256":
      let key = try privatePEM.map { try P256.Signing.PrivateKey(pemRepresentation: $0) }
      let other = try publicPEM.map { try P256.Signing.PublicKey(pemRepresentation: $0) }
      return .p256(key, try matching(key?.publicKey, other) { $0.rawRepresentation })
    case "ES384":
      let key = try privatePEM.map { try P384.Signing.PrivateKey(pemRepresentation: $0) }
      let other = try publicPEM.map { try P384.Signing.PublicKey(pemRepresentation: $0) }
      return .p384(key, try matching(key?.publicKey, other) { $0.rawRepresentation })
    case "ES512":
      let key = try privatePEM.map { try P521.Signing.PrivateKey(pemRepresentation: $0) }
      let other = try publicPEM.map { try P521.Signing.PublicKey(pemRepresentation: $0) }
      return .p521(key, try matching(key?.publicKey, other) { $0.rawRepresentation })
    case "EdDSA":
      let key = try privatePEM.map { try Curve25519.Signing.PrivateKey(pemRepresentation: $0) }
      let other = try publicPEM.map { try Curve25519.Signing.PublicKey(pemRepresentation: $0) }
      return .ed25519(key, try matching(key?.publicKey, other) { $0.rawRepresentation })
    default:
      throw Unusable(
        text: "there is no sign-method \"\(method)\"; there are HS, RS, PS and ES with 256, 384 or 512, and EdDSA")
    }
  }

  private static func symmetric(_ secret: Bytes?, _ method: String) throws -> SymmetricKey {
    guard let secret, !secret.isEmpty else { throw Unusable(text: "\(method) takes its secret from priv-key=FILE") }
    return SymmetricKey(data: secret)
  }

  private static func rsa(
    _ publicPEM: String?, _ privatePEM: String?, _ padding: _RSA.Signing.Padding, _ hash: Hash
  ) throws -> SigningMethod {
    let key = try privatePEM.map { try _RSA.Signing.PrivateKey(pemRepresentation: $0) }
    let other = try publicPEM.map { try _RSA.Signing.PublicKey(pemRepresentation: $0) }
    return .rsa(key, try matching(key?.publicKey, other) { $0.derRepresentation }, padding, hash)
  }

  /// The public key, which must be that of the private one where both are given.
  private static func matching<Public>(
    _ own: Public?, _ given: Public?, _ bytes: (Public) -> Data
  ) throws -> Public {
    if let own, let given, bytes(own) != bytes(given) {
      throw Unusable(text: "pub-key and priv-key do not belong together")
    }
    guard let key = own ?? given else { throw Unusable(text: "there is no key") }
    return key
  }

  // MARK: Signing

  /// Nil where there is no private key.
  func signature(of bytes: Bytes) -> Bytes? {
    switch self {
    case .hmac(let key, .sha256): return Bytes(HMAC<SHA256>.authenticationCode(for: bytes, using: key))
    case .hmac(let key, .sha384): return Bytes(HMAC<SHA384>.authenticationCode(for: bytes, using: key))
    case .hmac(let key, .sha512): return Bytes(HMAC<SHA512>.authenticationCode(for: bytes, using: key))
    case .rsa(let key, _, let padding, .sha256):
      return (try? key?.signature(for: SHA256.hash(data: bytes), padding: padding)).map { Bytes($0.rawRepresentation) }
    case .rsa(let key, _, let padding, .sha384):
      return (try? key?.signature(for: SHA384.hash(data: bytes), padding: padding)).map { Bytes($0.rawRepresentation) }
    case .rsa(let key, _, let padding, .sha512):
      return (try? key?.signature(for: SHA512.hash(data: bytes), padding: padding)).map { Bytes($0.rawRepresentation) }
    case .p256(let key, _): return (try? key?.signature(for: bytes)).map { Bytes($0.rawRepresentation) }
    case .p384(let key, _): return (try? key?.signature(for: bytes)).map { Bytes($0.rawRepresentation) }
    case .p521(let key, _): return (try? key?.signature(for: bytes)).map { Bytes($0.rawRepresentation) }
    case .ed25519(let key, _): return (try? key?.signature(for: bytes)).map { Bytes($0) }
    }
  }

  func isValid(_ signature: Bytes, for bytes: Bytes) -> Bool {
    switch self {
    case .hmac(let key, .sha256):
      return HMAC<SHA256>.isValidAuthenticationCode(signature, authenticating: bytes, using: key)
    case .hmac(let key, .sha384):
      return HMAC<SHA384>.isValidAuthenticationCode(signature, authenticating: bytes, using: key)
    case .hmac(let key, .sha512):
      return HMAC<SHA512>.isValidAuthenticationCode(signature, authenticating: bytes, using: key)
    case .rsa(_, let key, let padding, let hash):
      let signature = _RSA.Signing.RSASignature(rawRepresentation: signature)
      switch hash {
      case .sha256: return key.isValidSignature(signature, for: SHA256.hash(data: bytes), padding: padding)
      case .sha384: return key.isValidSignature(signature, for: SHA384.hash(data: bytes), padding: padding)
      case .sha512: return key.isValidSignature(signature, for: SHA512.hash(data: bytes), padding: padding)
      }
    case .p256(_, let key):
      guard let signature = try? P256.Signing.ECDSASignature(rawRepresentation: signature) else { return false }
      return key.isValidSignature(signature, for: bytes)
    case .p384(_, let key):
      guard let signature = try? P384.Signing.ECDSASignature(rawRepresentation: signature) else { return false }
      return key.isValidSignature(signature, for: bytes)
    case .p521(_, let key):
      guard let signature = try? P521.Signing.ECDSASignature(rawRepresentation: signature) else { return false }
      return key.isValidSignature(signature, for: bytes)
    case .ed25519(_, let key): return key.isValidSignature(signature, for: bytes)
    }
  }
}
