// Scenario 21: tokens that somebody made up, bent, or got for something else.

import Foundation

struct BadTokens: Scenario {
  let number = 21
  let title = "tokens that are forged, of the future, of another scope or cluster, unsigned, or far too long"
  let expectation = "all refused; the floor is untouched, and the holder goes on"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let scene = try await Handover.start(on: stage, milliseconds: 30_000)
    for (name, token) in try await tokens(scene) {
      var request = scene.write(name)
      // Without a fence nobody shows a token, and nobody is asked for one.
      request.otherProofs = stage.guarding == .fenced ? [token] : []
      let answer = try await scene.b.send(request)
      tally.countStale(answer)
      if !answer.isFenced && !answer.isAccepted { tally.expect(false, "\(name): \(answer.summary)") }
      request.kind = .raise
      let raise = try await scene.b.send(request)
      tally.expect(stage.guarding == .unfenced || raise.isFenced, "a raise with \(name): \(raise.summary)")
    }
    if stage.guarding == .fenced {
      let floor = try await scene.resource.floor(of: stage.name) ?? 0
      tally.expect(floor == scene.authorityOfA.number, "the floor is \(floor)")
    }
    try await scene.a.mustSend(scene.write("A"))
    try await scene.expectOwner("A", &tally)
    return tally
  }

  private func tokens(_ scene: Handover) async throws -> [(String, String)] {
    let stage = scene.stage
    let good = scene.authorityOfA.proof
    let parts = good.split(separator: ".").map(String.init)
    guard parts.count == 3, let text = Self.text(parts[1]) else { throw ConformanceError("\(good) is no JWT") }
    func payload(_ old: String, _ new: String) throws -> String {
      guard text.contains(old) else { throw ConformanceError("a token's payload has no \(old): \(text)") }
      return Self.base64(text.replacingOccurrences(of: old, with: new))
    }
    let number = "\"number\":\(scene.authorityOfA.number)"
    let future = try payload(number, "\"number\":9223372036854775807")
    let none = Self.base64(#"{"alg":"none","typ":"JWT"}"#)
    var tokens = [
      ("a number of the future", "\(parts[0]).\(future).\(parts[2])"),
      ("another holder", "\(parts[0]).\(try payload("\"A\"", "\"B\"")).\(parts[2])"),
      ("alg: none", "\(none).\(parts[1])."), ("alg: none, of the future", "\(none).\(future)."),
      ("alg: none, with the signature", "\(none).\(parts[1]).\(parts[2])"),
      ("a cut signature", "\(parts[0]).\(parts[1]).\(parts[2].dropLast(4))"),
      ("a bent signature", "\(parts[0]).\(parts[1]).\(String(parts[2].reversed()))"),
      ("no signature", "\(parts[0]).\(parts[1])"), ("no token", "none"),
      ("a token of 20,000 characters", good + String(repeating: "A", count: 20_000)),
    ]
    let session = try stage.startWriter("elsewhere", gateway: scene.gateway.address)
    tokens.append(("another scope", try await session.acquire("\(stage.mark)-other").proof))
    // A cluster of its own, with a grant of a scope of the very same name and a higher number.
    let other = try await stage.deployment.startCore(name: "\(stage.mark)-other")
    let stranger = try stage.deployment.startWriter(
      "stranger", endpoints: other.endpoints, gateway: scene.gateway.address)
    tokens.append(("another cluster", try await stranger.acquire(stage.scope).proof))
    return tokens
  }

  private static func base64(_ text: String) -> String {
    Data(text.utf8).base64EncodedString().replacingOccurrences(of: "+", with: "-")
      .replacingOccurrences(of: "/", with: "_").replacingOccurrences(of: "=", with: "")
  }

  private static func text(_ part: String) -> String? {
    let base = part.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
    return Data(base64Encoded: base + String(repeating: "=", count: (4 - base.count % 4) % 4))
      .map { String(decoding: $0, as: UTF8.self) }
  }
}
