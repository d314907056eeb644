// Owns what one machine takes for the time: an offset, a rate of its own, jumps and stretches in which it stands still.
// Must never: run backwards. It stands for a boot-time clock, which does not.
// Invariant: a real time span is at most `(1 + drift)` times as long on it, but for jumps.

struct LocalClock {
  private var offsetMicroseconds: UInt64
  /// 1000 for a perfect clock.
  let ratePerMille: UInt64
  private var frozenAt: UInt64?
  private var lostMicroseconds: UInt64 = 0

  init(offsetMicroseconds: UInt64, ratePerMille: UInt64) {
    self.offsetMicroseconds = offsetMicroseconds
    self.ratePerMille = ratePerMille
  }

  func microseconds(at now: UInt64) -> UInt64 {
    let running = (frozenAt ?? now) - lostMicroseconds
    return offsetMicroseconds + running * ratePerMille / 1000
  }

  func milliseconds(at now: UInt64) -> UInt64 { microseconds(at: now) / 1000 }

  /// How long this clock takes in real time to show that so much has passed.
  func realMicroseconds(for shown: UInt64) -> UInt64 { shown * 1000 / ratePerMille }

  mutating func jump(_ microseconds: UInt64) { offsetMicroseconds += microseconds }

  mutating func freeze(at now: UInt64) { if frozenAt == nil { frozenAt = now } }

  mutating func thaw(at now: UInt64) {
    guard let since = frozenAt else { return }
    lostMicroseconds += now - since
    frozenAt = nil
  }
}
