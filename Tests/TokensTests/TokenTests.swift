// Signing and verifying: what passes, and every way in which a token may be wrong.

import Crypto
import FencingCore
import Foundation
import Testing
import Tokens

private let now: Int64 = 1_800_000_000

private func claims(number: Int64 = 42, holder: String = "writer-a", scope: String = "orders") throws -> FenceClaims {
  FenceClaims(
    cluster: 0xFEDC_BA98_7654_3210, incarnation: try #require(Incarnation(Int64(3))), scope: scope,
    number: try #require(GrantNumber(number)), holder: holder)
}

private func sign(_ key: SigningKey, _ claims: FenceClaims) throws -> String {
  try key.sign(claims, issuedAtSeconds: now, expiresAtSeconds: now + 60)
}

/// Signs any header and payload with `key`, as somebody who holds the key but not our signer would.
private func forge(_ key: SigningKey, header: String, payload: String) throws -> String {
  let signed = Base64URL.encode(header.utf8) + "." + Base64URL.encode(payload.utf8)
  let raw = try Curve25519.Signing.PrivateKey(rawRepresentation: key.rawRepresentation)
  return signed + "." + Base64URL.encode(try raw.signature(for: Array(signed.utf8)))
}

private func payload(_ changes: [String: String?] = [:]) -> String {
  var members: [(String, String?)] = [
    ("iss", #""portcullis""#), ("aud", #""portcullis-fence""#), ("iat", String(now)), ("exp", String(now + 60)),
    ("cluster", #""fedcba9876543210""#), ("incarnation", "3"), ("scope", #""orders""#), ("number", "42"),
    ("holder", #""writer-a""#),
  ]
  for (name, value) in changes {
    members.removeAll { $0.0 == name }
    members.append((name, value))
  }
  return "{" + members.compactMap { name, value in value.map { "\"\(name)\":\($0)" } }.joined(separator: ",") + "}"
}

private func error(_ token: String, _ keys: KeySet, at time: Int64 = now) -> TokenError? {
  do throws(TokenError) {
    _ = try keys.verify(token, nowSeconds: time)
    return nil
  } catch {
    return error
  }
}

@Suite("Tokens")
struct TokenTests {
  let key = SigningKey()
  var keys: KeySet { KeySet([key.publicKey]) }
  var header: String { #"{"alg":"EdDSA","typ":"JWT","kid":"\#(key.kid)"}"# }

  @Test("a token says exactly what was signed", arguments: [1, 42, 9_007_199_254_740_993, Int64.max])
  func roundTrip(number: Int64) throws {
    let claims = try claims(number: number, holder: "h\u{f6}lder \"1\"\n")
    #expect(try keys.verify(try sign(key, claims), nowSeconds: now) == claims)
  }

  @Test("a forged token that is built right passes, so the tests below fail for their own reason")
  func forgedControl() throws {
    #expect(try keys.verify(try forge(key, header: header, payload: payload()), nowSeconds: now) == claims())
  }

  @Test("every bit of every byte counts: a token that was changed anywhere is refused")
  func tampering() throws {
    let token = Array(try sign(key, try claims()).utf8)
    for index in token.indices {
      for bit in 0..<7 {
        var changed = token
        changed[index] ^= 1 << UInt8(bit)
        #expect(error(String(decoding: changed, as: UTF8.self), keys) != nil, "byte \(index), bit \(bit)")
      }
      var shorter = token
      shorter.remove(at: index)
      #expect(error(String(decoding: shorter, as: UTF8.self), keys) != nil, "without byte \(index)")
    }
  }

  @Test(
    "only the one header is taken",
    arguments: [
      #"{"alg":"none","typ":"JWT","kid":"KID"}"#, #"{"alg":"None","typ":"JWT","kid":"KID"}"#,
      #"{"alg":"HS256","typ":"JWT","kid":"KID"}"#, #"{"alg":"EdDSA","typ":"at+jwt","kid":"KID"}"#,
      #"{"alg":"EdDSA","kid":"KID"}"#, #"{"typ":"JWT","kid":"KID"}"#, #"{"alg":"EdDSA","typ":"JWT"}"#,
      #"{"alg":"EdDSA","typ":"JWT","kid":"KID","crit":["x"]}"#, #"{"alg":"EdDSA","typ":"JWT","kid":"KID","jwk":{}}"#,
      #"{"alg":"none","alg":"EdDSA","typ":"JWT","kid":"KID"}"#, #"{"alg":["EdDSA"],"typ":"JWT","kid":"KID"}"#,
      #"["EdDSA","JWT","KID"]"#, "x",
    ])
  func headers(text: String) throws {
    let header = text.replacingOccurrences(of: "KID", with: key.kid)
    let refusal = try #require(error(try forge(key, header: header, payload: payload()), keys))
    switch refusal {
    case .wrongHeader, .malformed: break
    default: Issue.record("\(refusal)")
    }
  }

  @Test("alg none with an empty signature is refused")
  func algNone() {
    let header = Base64URL.encode(#"{"alg":"none","typ":"JWT","kid":"\#(key.kid)"}"#.utf8)
    let token = header + "." + Base64URL.encode(payload().utf8) + "."
    #expect(error(token, keys) != nil)
  }

  @Test("a signature of another key is refused under the first one's id, and under its own as unknown")
  func keyConfusion() throws {
    let other = SigningKey()
    #expect(error(try forge(other, header: header, payload: payload()), keys) == .badSignature(kid: key.kid))
    let honest = try sign(other, try claims())
    #expect(error(honest, keys) == .unknownKey(kid: other.kid, known: [key.kid]))
    #expect(try #require(error(honest, keys)).description.contains(other.kid))
    #expect(try KeySet([key.publicKey, other.publicKey]).verify(honest, nowSeconds: now) == claims())
  }

  @Test(
    "a claim that is missing, doubled or of another type is refused",
    arguments: [
      ["number": "0"], ["number": "-1"], ["number": "42.0"], ["number": "4.2e1"], ["number": "\"42\""],
      ["number": "9223372036854775808"], ["number": "18446744073709551615"], ["number": "true"], ["number": nil],
      ["incarnation": "-1"], ["incarnation": "\"3\""], ["incarnation": nil], ["scope": nil], ["scope": "\"\""],
      ["scope": "7"], ["holder": nil], ["holder": "\"\""], ["cluster": "1"], ["cluster": "\"1\""],
      ["cluster": "\"FEDCBA9876543210\""], ["iss": "\"other\""], ["iss": nil], ["aud": "\"other\""],
      ["aud": "[\"portcullis-fence\"]"], ["iat": nil], ["exp": nil], ["exp": "\"9\""], ["exp": "1e10"],
      ["x": "1,\"number\":99"],
    ] as [[String: String?]])
  func claimsRefused(changes: [String: String?]) throws {
    let refusal = try #require(error(try forge(key, header: header, payload: payload(changes)), keys))
    switch refusal {
    case .wrongClaim, .malformed: break
    default: Issue.record("\(refusal)")
    }
  }

  @Test("a token that has expired is refused after the leeway, and not before")
  func expiry() throws {
    let token = try sign(key, try claims())
    let last = now + 60 + KeySet.defaultLeewaySeconds
    #expect(error(token, keys, at: last) == nil)
    #expect(error(token, keys, at: last + 1) == .expired(atSeconds: now + 60, nowSeconds: last + 1))
    // A clock that is behind costs nobody a valid token.
    #expect(error(token, keys, at: now - 100_000) == nil)
  }

  @Test("expiry at the edge of 64 bits does not wrap")
  func expiryEdge() throws {
    let token = try key.sign(try claims(), issuedAtSeconds: now, expiresAtSeconds: .max)
    #expect(error(token, keys, at: .max) == nil)
    let past = try key.sign(try claims(), issuedAtSeconds: now, expiresAtSeconds: .min)
    #expect(error(past, keys) == .expired(atSeconds: .min, nowSeconds: now))
  }

  @Test("tokens above 4 KiB are neither made nor read")
  func size() throws {
    let long = try claims(holder: String(repeating: "x", count: 4000))
    #expect(throws: TokenError.self) { try sign(key, long) }
    let forged = try forge(
      key, header: header, payload: payload(["holder": "\"\(String(repeating: "x", count: 4000))\""]))
    #expect(error(forged, keys) == .tooLong(bytes: forged.utf8.count, limit: 4096))
    #expect(error(String(repeating: "a", count: 1 << 20), keys) == .tooLong(bytes: 1 << 20, limit: 4096))
  }

  @Test("a token has three sections", arguments: ["", ".", "..", "a.b", "a.b.c.d", "....", "a b.c.d"])
  func sections(text: String) {
    #expect(error(text, keys) != nil)
  }
}
