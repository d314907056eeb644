// The account of commits, from what nodes say in their metrics.

import Measurement
import Testing
import Workloads

@Suite("commit counters")
struct CommitCountersTests {
  private static func metrics(_ commits: Int, flush: Double, reply: Double) -> String {
    """
    # TYPE portcullis_commit_duration_seconds histogram
    portcullis_commit_duration_seconds_bucket{path="own_disk",le="1.6e-05"} 3
    portcullis_commit_duration_seconds_sum{path="own_disk"} \(flush + reply)
    portcullis_commit_duration_seconds_count{path="own_disk"} \(commits)
    portcullis_commit_duration_seconds_sum{path="peer"} 0.000000000
    portcullis_commit_duration_seconds_count{path="peer"} 0
    portcullis_commit_stage_duration_seconds_sum{path="own_disk",stage="flush"} \(flush)
    portcullis_commit_stage_duration_seconds_count{path="own_disk",stage="flush"} \(commits)
    portcullis_commit_stage_duration_seconds_sum{path="own_disk",stage="reply"} \(reply)
    portcullis_keys 7
    """
  }

  @Test("what was counted between two readings, of all nodes together, as means")
  func breakdown() throws {
    let before = [
      CommitCounters(metrics: Self.metrics(10, flush: 1, reply: 1)),
      CommitCounters(metrics: Self.metrics(0, flush: 0, reply: 0)),
    ]
    let after = [
      CommitCounters(metrics: Self.metrics(20, flush: 3, reply: 2)),
      CommitCounters(metrics: Self.metrics(10, flush: 2, reply: 1)),
    ]
    let breakdown = try #require(CommitCounters.breakdown(from: before, to: after))
    let path = try #require(breakdown.paths.first)
    #expect(breakdown.paths.count == 1 && path.name == "own_disk" && path.commits == 20)
    #expect(path.meanNanoseconds == 3e8)
    #expect(path.stages.map(\.name) == ["flush", "reply"])
    #expect(path.stages.map(\.meanNanoseconds) == [2e8, 1e8])
  }

  @Test("a target without these metrics, one that was started anew, and one without commits have no account")
  func nothing() {
    #expect(CommitCounters(metrics: "etcd_server_is_leader 1\n") == nil)
    let (few, many) = (
      CommitCounters(metrics: Self.metrics(1, flush: 1, reply: 1)),
      CommitCounters(metrics: Self.metrics(2, flush: 2, reply: 2))
    )
    #expect(CommitCounters.breakdown(from: [many], to: [few]) == nil)
    #expect(CommitCounters.breakdown(from: [few], to: [few]) == nil)
    #expect(CommitCounters.breakdown(from: [few, nil], to: [many, few]) == nil)
    #expect(CommitCounters.breakdown(from: [], to: []) == nil)
    let metrics = Self.metrics(2, flush: 2, reply: 2)
    let anew = CommitCounters(metrics: metrics + "\nprocess_start_time_seconds 1000.5\n")
    #expect(CommitCounters.breakdown(from: [few], to: [anew]) == nil, "it counts more, and is another process")
    #expect(CommitCounters.breakdown(from: [few], to: [CommitCounters(metrics: metrics)]) != nil)
  }
}
