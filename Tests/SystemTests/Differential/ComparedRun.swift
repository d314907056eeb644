// One story, told to both servers step by step: after each step their answers are compared, and where the story says so
// what their watch streams said.

import Foundation
import Protocol

/// Where two servers differ.
struct ComparedDifference: Sendable, CustomStringConvertible {
  let step: String
  /// The server's name and what it said.
  let peer: String
  let ours: String
  /// Both refused, each in its words, so nothing that follows need differ for that.
  let isOfRefusals: Bool

  var description: String { "\(step)\n     \(peer)\n     \(ours)" }
}

final class ComparedRun {
  /// A step, and by how much it raised the revision.
  struct Told: Sendable {
    let step: ComparedStep
    let growth: Int64
  }

  private let pair: ComparedPair
  private let signal = ComparedSignal()
  private let peer: ComparedClient
  private let ours: ComparedClient
  private(set) var told: [Told] = []
  /// As the peer's answers say, which is what ours say too until the run ends.
  private(set) var revision: Int64 = 1
  private(set) var compacted: Int64 = 0
  /// Whether a watch may still be catching up.
  private var isCatchingUp = false
  private var probes: Int64 = 0

  init(_ pair: ComparedPair) {
    self.pair = pair
    peer = ComparedClient(pair.peer, signal: signal)
    ours = ComparedClient(pair.ours, signal: signal)
  }

  /// Does one step to both, and answers where they differ.
  func perform(_ step: ComparedStep) async -> ComparedDifference? {
    let before = revision
    defer { told.append(Told(step: step, growth: revision - before)) }
    switch step {
    case .settle: return await settle()
    case .cancelWatch, .compact:
      // What a watch was not sent yet may be lost to it by these, or not.
      if let difference = await settle() { return difference }
    case .watch(let request):
      if request.startRevision > 0, request.startRevision <= revision { isCatchingUp = true }
    default: break
    }
    var difference = await both(step)
    // A watch from before a compaction ends at once, and its id is free then.
    if difference == nil, case .watch(let request) = step, request.startRevision > 0, request.startRevision < compacted
    {
      difference = await settle()
    }
    if case .compact(let asked, _) = step, asked > compacted, asked <= revision { compacted = asked }
    return difference
  }

  private func both(_ step: ComparedStep) async -> ComparedDifference? {
    let (peer, ours) = (peer, ours)
    async let theirs = peer.perform(step)
    async let own = ours.perform(step)
    let (theirOutcome, ourOutcome) = await (theirs, own)
    revision = max(revision, theirOutcome.revision ?? 0)
    guard theirOutcome != ourOutcome else { return nil }
    return difference("\(step)", theirOutcome.text, ourOutcome.text)
  }

  private func difference(_ step: String, _ theirs: String, _ own: String) -> ComparedDifference {
    let width = max(peer.name.count, ours.name.count)
    func line(_ name: String, _ text: String) -> String {
      "\(name):".padding(toLength: width + 2, withPad: " ", startingAt: 0) + text
    }
    return ComparedDifference(
      step: step, peer: line(peer.name, theirs), ours: line(ours.name, own),
      isOfRefusals: theirs.hasPrefix("error ") && own.hasPrefix("error "))
  }

  // MARK: Watches

  private func settle() async -> ComparedDifference? {
    if isCatchingUp, let difference = await fence() { return difference }
    isCatchingUp = false
    let (theirs, own) = (peer.watches, ours.watches)
    let isAlike = await signal.wait { theirs.ended != nil || own.ended != nil || theirs.logs == own.logs }
    if let ended = theirs.ended ?? own.ended {
      return difference("the watch stream ended", theirs.ended ?? "is open (\(ended))", own.ended ?? "is open")
    }
    guard isAlike else { return firstDifference(theirs.logs, own.logs) }
    theirs.forgetLogs()
    own.forgetLogs()
    peer.cancelCompacted()
    ours.cancelCompacted()
    return nil
  }

  /// Waits until etcd has been through all watches that were behind: it looks at them together every tenth of a second, so
  /// once two watches of ours, one made after the other was served, have been sent something, the others were too.
  private func fence() async -> ComparedDifference? {
    if let difference = await both(.put(ComparedKeys.fence, "\(probes)")) { return difference }
    for _ in 0..<2 {
      probes += 1
      var request = Etcdserverpb_WatchCreateRequest()
      request.key = Data(ComparedKeys.fence.utf8)
      request.watchID = ComparedKeys.firstProbe + probes
      request.startRevision = revision
      let id = request.watchID
      if let difference = await both(.watch(request)) { return difference }
      let (theirs, own) = (peer.watches, ours.watches)
      let isSent = await signal.wait { theirs.hasEvents(id) && own.hasEvents(id) }
      guard isSent else {
        return difference("a watch from revision \(revision)", "\(theirs.hasEvents(id))", "\(own.hasEvents(id))")
      }
      if let difference = await both(.cancelWatch(id)) { return difference }
    }
    return nil
  }

  private func firstDifference(_ theirs: [Int64: [String]], _ own: [Int64: [String]]) -> ComparedDifference {
    for id in Set(theirs.keys).union(own.keys).sorted() {
      let (a, b) = (theirs[id] ?? [], own[id] ?? [])
      guard a != b else { continue }
      let place = zip(a, b).prefix { $0 == $1 }.count
      func rest(_ log: [String]) -> String {
        log.count > place
          ? "\(log.count) in all, then: " + log[place...].prefix(3).joined(separator: " | ") : "nothing more"
      }
      return difference("event \(place + 1) of watch \(id) since it was last looked at", rest(a), rest(b))
    }
    return difference("watches", "alike by now", "alike by now")
  }
}

// MARK: - Leaving out what a difference does not need

/// Finds a short story that still ends in a difference.
struct ComparedShrinking {
  let story: [ComparedRun.Told]
  /// No attempt begins after this.
  var end = ContinuousClock.now + .seconds(90)

  /// The steps that are left, those left out between them as puts of a filler, and the difference that they end in.
  func shrunk() async throws -> String? {
    var kept = Set(story.indices)
    guard var last = try await replay(kept) else { return nil }
    var chunk = story.count / 2
    while chunk >= 1 {
      var start = 0
      while start < story.count - 1, ContinuousClock.now < end {
        // The last step is the one that shows it.
        let candidate = kept.subtracting(start..<min(start + chunk, story.count - 1))
        if candidate.count < kept.count, let difference = try await replay(candidate) {
          (kept, last) = (candidate, difference)
        }
        start += chunk
      }
      chunk /= 2
    }
    return text(kept) + "\n  differ in: \(last)"
  }

  private func replay(_ kept: Set<Int>) async throws -> ComparedDifference? {
    let pair = try await ComparedPair.start()
    let run = ComparedRun(pair)
    var difference: ComparedDifference?
    for index in story.indices where difference == nil {
      let told = story[index]
      if kept.contains(index) {
        difference = await run.perform(told.step)
      } else {
        for _ in 0..<told.growth { _ = await run.perform(.put(ComparedKeys.filler, "")) }
      }
    }
    await pair.stop()
    return difference
  }

  private func text(_ kept: Set<Int>) -> String {
    var lines: [String] = []
    var fillers: Int64 = 0
    for index in story.indices {
      if !kept.contains(index) {
        fillers += story[index].growth
        continue
      }
      if fillers > 0 { lines.append("  (the revision is raised by \(fillers))") }
      fillers = 0
      lines.append("  \(story[index].step)")
    }
    return lines.joined(separator: "\n")
  }
}
