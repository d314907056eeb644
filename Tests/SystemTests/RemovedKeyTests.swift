// The key of a node that was removed: whoever has its disk can sign what it likes, and nothing newer than the removal counts.

import FencingCore
import Foundation
import FoundationNetworking
import Testing
import Tokens

@Suite("keys of removed nodes", .serialized, .timeLimit(.minutes(2)))
struct RemovedKeyTests {
  @Test(
    "tokens that it signed stay good, and one that is signed with its key for a higher number is refused everywhere")
  func removed() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    let acquired = try await nodes.run(
      "acquire", "orders", "--holder", "anna", "--", "sh", "-c", "echo $PORTCULLIS_TOKEN", endpoints: nodes.client("c"))
    let token = acquired.output.trimmingCharacters(in: .whitespacesAndNewlines)
    let key = try SigningKey(
      rawRepresentation: [UInt8](Data(contentsOf: URL(fileURLWithPath: nodes.data("c") + "/node.key"))))
    #expect(try await nodes.run("member", "remove", "c").exitCode == 0)
    #expect(await (try nodes.program("c")).exitCode() == 3)
    let rest = "\(nodes.client("a")),\(nodes.client("b"))"
    let claims = try await keySet(of: nodes, whenBounded: key.kid)
      .verify(token, nowSeconds: Int64(Date().timeIntervalSince1970))
    let good = try await nodes.run("token", "verify", token, endpoints: rest)
    #expect(good.exitCode == 0, "\(good.errors)")
    let forged = try forge(claims, by: key)
    let refused = try await nodes.run("token", "verify", forged, endpoints: rest)
    #expect(refused.exitCode == 77 && refused.errors.contains("vouches for nothing above"), "\(refused.errors)")
    let guarded = try await fencedPut(forged, at: nodes.client("a"))
    #expect(guarded.contains("vouches for nothing above"), "\(guarded)")
    await nodes.stop()
  }

  /// The removal is told to the state by the leader's housekeeping, a moment after the change of members.
  private func keySet(of nodes: Nodes, whenBounded kid: String) async throws -> KeySet {
    let end = ContinuousClock.now + .seconds(20)
    while ContinuousClock.now < end {
      let text = try await HTTPText.get("/.well-known/jwks.json", at: nodes.client("a"))
      let body = text.range(of: "\r\n\r\n").map { String(text[$0.upperBound...]) } ?? text
      let set = try KeySet(jwks: body)
      if set.lastAuthority[kid] != nil { return set }
      try await Task.sleep(for: .milliseconds(20))
    }
    throw TokenError.unknownKey(kid: kid, known: [])
  }

  private func forge(_ claims: FenceClaims, by key: SigningKey) throws -> String {
    let higher = FenceClaims(
      cluster: claims.cluster, incarnation: claims.incarnation, scope: claims.scope,
      number: try #require(GrantNumber(claims.number.rawValue + 1_000_000)), holder: "mallory")
    let now = Int64(Date().timeIntervalSince1970)
    return try key.sign(higher, issuedAtSeconds: now, expiresAtSeconds: now + 3600)
  }

  private func fencedPut(_ token: String, at address: String) async throws -> String {
    var request = URLRequest(url: try #require(URL(string: "http://\(address)/v3/kv/put")))
    request.httpMethod = "POST"
    request.setValue(token, forHTTPHeaderField: "fence")
    request.httpBody = Data(#"{"key":"aw==","value":"dg=="}"#.utf8)
    return String(decoding: try await URLSession.shared.data(for: request).0, as: UTF8.self)
  }
}
