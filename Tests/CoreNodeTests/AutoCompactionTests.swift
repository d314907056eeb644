// When history is compacted by itself.

import CoreNode
import Testing

@Suite("Automatic compaction")
struct AutoCompactionTests {
  /// A revision a second, a look each tenth of one; compactions happen as they become due.
  private func run(_ policy: AutoCompaction.Policy?, seconds: UInt64) -> [(second: UInt64, revision: Int64)] {
    var compaction = AutoCompaction(policy)
    var compacted: Int64 = 0
    var all: [(second: UInt64, revision: Int64)] = []
    for tenth in 0...(seconds * 10) {
      let revision = Int64(tenth / 10) + 1
      guard let due = compaction.due(at: 5000 + tenth * 100, revision: revision, compacted: compacted) else { continue }
      compacted = due
      all.append((tenth / 10, due))
    }
    return all
  }

  @Test("by age: nothing that is younger goes, and what is older goes once in that time", arguments: [10, 600, 3600])
  func age(seconds: UInt64) {
    let all = run(.age(milliseconds: seconds * 1000), seconds: seconds * 5)
    #expect(all.count >= 3 && all.count <= 5)
    for (second, revision) in all {
      #expect(revision <= Int64(second - seconds) + 1, "it was written \(seconds) s ago or longer")
      #expect(revision >= Int64(second - seconds) - Int64(seconds / 10) - 1, "and is not much older than it need be")
    }
  }

  @Test("by age of many hours: once an hour")
  func longAge() {
    let all = run(.age(milliseconds: 5 * 3_600_000), seconds: 8 * 3600)
    #expect(all.map { $0.second / 3600 } == [5, 6, 7] || all.map { $0.second / 3600 } == [5, 6, 7, 8])
  }

  @Test("by revisions: every five minutes, all but the newest so many")
  func revisions() {
    let all = run(.revisions(100), seconds: 1000)
    #expect(all.map(\.second) == [300, 600, 900] && all.map(\.revision) == [201, 501, 801])
    #expect(run(.revisions(5000), seconds: 1000).isEmpty)
  }

  @Test("an idle store is not compacted again and again, and without a policy nothing is")
  func idle() {
    var compaction = AutoCompaction(.age(milliseconds: 1000))
    var all: [Int64] = []
    for tenth in 0...1000 as ClosedRange<UInt64> {
      if let due = compaction.due(at: tenth * 100, revision: 7, compacted: all.last ?? 0) { all.append(due) }
    }
    #expect(all == [7])
    #expect(run(nil, seconds: 100).isEmpty)
  }
}
