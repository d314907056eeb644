// What users prove who they are by: hashes of passwords, simple tokens and signed ones.

import CoordinationCore
import CoreNode
import Crypto
import CryptoExtras
import Foundation
import Testing

@Suite("What users prove who they are by")
struct AuthTests {
  @Test("a hash fits its password and no other, before and after it was text")
  func passwords() throws {
    let hash = PasswordHash(of: Bytes("secret".utf8), salt: Bytes(repeating: 7, count: 16), cost: 4)
    let read = try #require(PasswordHash(hash.encoded))
    #expect(read == hash && read.encoded == hash.encoded)
    for one in [hash, read] {
      #expect(one.fits(Bytes("secret".utf8)))
      for other in ["Secret", "secret ", "", "secre"] { #expect(!one.fits(Bytes(other.utf8))) }
    }
    let salted = PasswordHash(of: Bytes("secret".utf8), salt: Bytes(repeating: 8, count: 16), cost: 4)
    #expect(salted != hash)
    #expect(String(decoding: hash.encoded, as: UTF8.self).hasPrefix("$scrypt$ln=10,r=8,p=1$"))
    #expect(PasswordHash(of: [], salt: Bytes(repeating: 1, count: 16), cost: 4).fits([]))
  }

  @Test("what is no hash of ours, or would take too long to check, is none")
  func malformedHashes() throws {
    let good = PasswordHash(of: [1], salt: Bytes(repeating: 7, count: 16), cost: 4).encoded
    for length in 0..<good.count { #expect(PasswordHash(Array(good[..<length])) == nil) }
    let text = String(decoding: good, as: UTF8.self)
    for (old, new) in [
      ("ln=10", "ln=30"), ("ln=10", "ln=+10"), ("ln=10", "ln=010"), ("r=8", "r=80"), ("p=1", "p=100"),
      ("$scrypt", "scrypt"),
      ("scrypt", "bcrypt"), ("ln=10,", ""),
    ] {
      #expect(PasswordHash(Bytes(text.replacing(old, with: new).utf8)) == nil, "\(new)")
    }
    #expect(PasswordHash(Bytes("$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy".utf8)) == nil)
    #expect(PasswordHash(good + [36]) == nil)
  }

  @Test("simple tokens are etcd's: sixteen letters, a point and an index")
  func simpleTokens() {
    let token = SimpleToken(secret: "abcdefghijklmnop", index: 42)
    #expect(token.text == "abcdefghijklmnop.42" && SimpleToken(token.text) == token)
    for wrong in [
      "", ".", "abcdefghijklmnop", "abcdefghijklmnop.", "abcdefghijklmnop.+4", "abc.4", "abcdefghijklmnop.4.2",
    ] {
      #expect(SimpleToken(wrong) == nil, "\(wrong)")
    }
    #expect(SimpleToken("abcdefghijklmnop.99999999999999999999") == nil)
  }

  // MARK: Signed tokens

  private struct Keys {
    let method: String
    let privateKey: String?
    let publicKey: String?
  }

  private static func keys() throws -> [Keys] {
    let rsa = try _RSA.Signing.PrivateKey(keySize: .bits2048)
    let (p256, p384, p521) = (P256.Signing.PrivateKey(), P384.Signing.PrivateKey(), P521.Signing.PrivateKey())
    let ed25519 = Curve25519.Signing.PrivateKey()
    let rsaKeys = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map {
      Keys(method: $0, privateKey: rsa.pemRepresentation, publicKey: rsa.publicKey.pemRepresentation)
    }
    return rsaKeys + [
      Keys(method: "ES256", privateKey: p256.pemRepresentation, publicKey: p256.publicKey.pemRepresentation),
      Keys(method: "ES384", privateKey: p384.pemRepresentation, publicKey: p384.publicKey.pemRepresentation),
      Keys(method: "ES512", privateKey: p521.pemRepresentation, publicKey: p521.publicKey.pemRepresentation),
      Keys(method: "EdDSA", privateKey: ed25519.pemRepresentation, publicKey: ed25519.publicKey.pemRepresentation),
    ]
  }

  private func tokens(_ method: String, _ publicKey: String?, _ privateKey: String?) throws -> SignedTokens {
    try SignedTokens(
      method: method, publicKey: publicKey.map { Bytes($0.utf8) }, privateKey: privateKey.map { Bytes($0.utf8) },
      lifetimeMilliseconds: 60_000)
  }

  @Test("each method signs what it and a node with the public key alone take, and nobody else")
  func methods() throws {
    let user = AuthName(Bytes("änn \"1\"".utf8))
    let all = try Self.keys()
    for keys in all {
      let both = try tokens(keys.method, keys.publicKey, keys.privateKey)
      let token = try both.sign(user, authRevision: 12)
      let verifier = try tokens(keys.method, keys.publicKey, nil)
      for reader in [both, verifier, try tokens(keys.method, nil, keys.privateKey)] {
        let claims = try #require(reader.claims(of: token), "\(keys.method)")
        #expect(claims.user == user && claims.authRevision == 12)
        let left = (claims.expiresAtSeconds ?? 0) - Int64(Date().timeIntervalSince1970)
        #expect((50...60).contains(left))
      }
      #expect(throws: SignedTokens.SigningError.self) { try verifier.sign(user, authRevision: 1) }
      let turned = token.dropLast() + (token.hasSuffix("A") ? "B" : "A")
      #expect(verifier.claims(of: String(turned)) == nil)
      for other in all where other.method != keys.method {
        #expect(try tokens(other.method, other.publicKey, nil).claims(of: token) == nil)
      }
    }
  }

  @Test("a secret signs too, and a public key that is taken for one does not")
  func secrets() throws {
    for method in ["HS256", "HS384", "HS512"] {
      let token = try tokens(method, nil, "secret").sign(AuthName([97]), authRevision: 3)
      #expect(try tokens(method, nil, "secret").claims(of: token)?.user == AuthName([97]))
      #expect(try tokens(method, nil, "another").claims(of: token) == nil)
    }
    let keys = try #require(try Self.keys().first)
    // Whoever knows the public key could sign with it, if the token said how it is to be checked.
    let forged = try tokens("HS256", nil, keys.publicKey).sign(AuthName(Bytes("root".utf8)), authRevision: 3)
    #expect(try tokens("RS256", keys.publicKey, nil).claims(of: forged) == nil)
    for text in ["", "a.b", "a.b.c", "e30.e30.e30", String(repeating: "a", count: 100_000)] {
      #expect(try tokens("HS256", nil, "secret").claims(of: text) == nil)
    }
  }

  @Test("a known token of another's making is read")
  func known() throws {
    // HS256, made by another program, over {"username":"root","revision":9} with the secret "key".
    let token =
      "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VybmFtZSI6InJvb3QiLCJyZXZpc2lvbiI6OX0."
      + "QOrN6ILb4aLID_0JZSxsqpXOv6FvvCxihxT8rthTi8Y"
    let claims = try #require(try tokens("HS256", nil, "key").claims(of: token))
    #expect(claims.user == .root && claims.authRevision == 9 && claims.expiresAtSeconds == nil)
  }

  @Test("keys that do not fit are refused, and told why")
  func wrongKeys() throws {
    let all = try Self.keys()
    let (rsa, other) = (all[0], try Self.keys()[0])
    for (method, publicKey, privateKey, text) in [
      ("RS256", nil, nil, "needs priv-key=FILE"), ("none", rsa.publicKey, nil, "there is no sign-method"),
      ("RS256", "no key", nil, "no PEM file"), ("ES256", rsa.publicKey, nil, "no PEM file"),
      ("RS256", other.publicKey, rsa.privateKey, "do not belong together"), ("HS256", rsa.publicKey, nil, "its secret"),
    ] as [(String, String?, String?, String)] {
      #expect { try tokens(method, publicKey, privateKey) } throws: { "\($0)".contains(text) }
    }
  }
}
