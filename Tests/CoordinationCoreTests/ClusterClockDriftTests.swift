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
      leader.observe(stampMilliseconds: stamp, localMilliseconds: second * 1000, isLeading: true)
      follower.observe(stampMilliseconds: stamp, localMilliseconds: second * 1010, isLeading: false)
    }
    #expect(follower.now(localMilliseconds: 3600 * 1010) == leader.now(localMilliseconds: 3600 * 1000))
  }

  @Test("a leader is not held back by its own stamps, which are old when they are applied")
  func ownStamps() {
    var clock = ClusterClock(startMilliseconds: 0, longestStepMilliseconds: 1000)
    _ = clock.now(localMilliseconds: 0)
    let stamp = clock.now(localMilliseconds: 500)
    clock.observe(stampMilliseconds: stamp, localMilliseconds: 900, isLeading: true)
    #expect(clock.now(localMilliseconds: 900) == 900)
  }

  @Test("an old stamp does not take a follower behind a newer one that it has seen")
  func backlog() {
    var clock = ClusterClock(startMilliseconds: 10_000, longestStepMilliseconds: 1000)
    clock.observe(stampMilliseconds: 4000, localMilliseconds: 100, isLeading: false)
    #expect(clock.now(localMilliseconds: 100) == 10_000)
  }
}
