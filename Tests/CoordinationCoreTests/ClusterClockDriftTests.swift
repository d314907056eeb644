// The cluster clock over many changes of who leads, on machines whose clocks run at different rates.

import CoordinationCore
import Testing

@Suite("The cluster clock and drift")
struct ClusterClockDriftTests {
  @Test("a follower with a faster clock does not gain on its leader, however long both run")
  func noGain() {
    var leader = ClusterClock(startMilliseconds: 0, longestStepMilliseconds: 1000)
    var follower = ClusterClock(startMilliseconds: 0, longestStepMilliseconds: 1000)
    for second in 1...3600 as ClosedRange<UInt64> {
      let stamp = leader.now(localMilliseconds: second * 1000)
      follower.follow(stampMilliseconds: stamp, localMilliseconds: second * 1010)
    }
    #expect(follower.now(localMilliseconds: 3600 * 1010) == leader.now(localMilliseconds: 3600 * 1000))
  }

  @Test("the stamp of an entry that was replaced since does not count")
  func replaced() {
    var clock = ClusterClock(startMilliseconds: 10_000, longestStepMilliseconds: 1000)
    clock.follow(stampMilliseconds: 4000, localMilliseconds: 100)
    #expect(clock.now(localMilliseconds: 100) == 4000)
    #expect(clock.now(localMilliseconds: 150) == 4050)
  }
}
