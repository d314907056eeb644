// Owns the advice on heartbeat and election timeout: how long a leader may be silent before it is taken for dead.

package struct TimerAdvice: Sendable, Equatable, Codable {
  package var heartbeatMilliseconds: Int
  package var electionMilliseconds: Int
  /// The planned timeout over the longest silence that the model saw, or over what a heartbeat can need if that is more.
  package var margin: Double
  package var isPlannedEnough: Bool
  package var reason: String

  /// Below this a bad second takes the leader away.
  package static let leastMargin = 3.0

  /// - Parameter flushP99: in nanoseconds: a follower's answer waits for its disk.
  init(of need: Need, prediction: Prediction, flushP99 nanoseconds: Double) {
    let roundTrip = need.longestRoundTrip * 1000
    let flush = nanoseconds / 1e6
    // etcd's guide: a heartbeat of about one round trip, an election of ten of them; here never below the defaults.
    heartbeatMilliseconds = max(100, Self.rounded(roundTrip * 1.5))
    let silence = max(
      Double(prediction.longestSilence) / 1e6, Double(need.heartbeatMilliseconds) + roundTrip / 2 + flush)
    margin = Double(need.electionMilliseconds) / silence
    electionMilliseconds = max(
      1000, 10 * heartbeatMilliseconds, Self.rounded(10 * roundTrip),
      Self.rounded(Self.leastMargin * (Double(heartbeatMilliseconds) + roundTrip + 3 * flush)))
    isPlannedEnough =
      margin >= Self.leastMargin && prediction.elections == 0 && Double(need.electionMilliseconds) >= 10 * roundTrip
    reason =
      "longest silence \(Words.time(silence * 1e6)) (a heartbeat each \(need.heartbeatMilliseconds) ms, round trip "
      + "\(Words.time(roundTrip * 1e6)), flush p99 \(Words.time(nanoseconds)))"
  }

  /// Up to a multiple of ten.
  private static func rounded(_ milliseconds: Double) -> Int { Int((milliseconds / 10).rounded(.up)) * 10 }
}
