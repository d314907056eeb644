// When a snapshot is due.

import CoreNode
import Testing

@Suite("Snapshot policy")
struct SnapshotPolicyTests {
  private static func policy(entries: Int, logBytes: Int = 1 << 20, lastBytes: Int = 0) -> SnapshotPolicy {
    var configuration = NodeConfiguration(
      name: "a", dataDirectory: "/nonexistent", clientHost: "127.0.0.1", clientPort: 0, peers: [])
    configuration.snapshotEntries = entries
    configuration.limits.snapshotLogBytes = logBytes
    return SnapshotPolicy(configuration, lastBytes: lastBytes)
  }

  @Test("it is due after so many entries, and not while one is under way")
  func entries() {
    var policy = Self.policy(entries: 3)
    for _ in 0..<2 { policy.applied(bytes: 10) }
    #expect(!policy.isDue(nowNanoseconds: 0))
    policy.applied(bytes: 10)
    #expect(policy.isDue(nowNanoseconds: 0))
    policy.began()
    for _ in 0..<3 { policy.applied(bytes: 10) }
    #expect(!policy.isDue(nowNanoseconds: 0))
    policy.ended(bytes: 100, nowNanoseconds: 0)
    #expect(policy.isDue(nowNanoseconds: 0), "entries that came meanwhile count for the next one")
  }

  @Test("a large state is not written again for a few entries")
  func proportion() {
    var policy = Self.policy(entries: 3, lastBytes: 4000)
    for _ in 0..<3 { policy.applied(bytes: 10) }
    #expect(!policy.isDue(nowNanoseconds: 0))
    policy.applied(bytes: 1000)
    #expect(policy.isDue(nowNanoseconds: 0))
  }

  @Test("few entries that are large make one due as well")
  func bytes() {
    var policy = Self.policy(entries: 1000, logBytes: 5000)
    policy.applied(bytes: 4999)
    #expect(!policy.isDue(nowNanoseconds: 0))
    policy.applied(bytes: 1)
    #expect(policy.isDue(nowNanoseconds: 0))
  }

  @Test("one that failed is tried again after a pause, though nothing more was applied")
  func failure() {
    var policy = Self.policy(entries: 1)
    policy.applied(bytes: 1)
    policy.began()
    policy.ended(bytes: nil, nowNanoseconds: 1000)
    #expect(!policy.isDue(nowNanoseconds: 1000))
    #expect(policy.isDue(nowNanoseconds: 1000 + 60_000_000_000))
  }
}
