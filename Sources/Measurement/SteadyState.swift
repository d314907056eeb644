// Owns the decision of when a warm-up is over.
//
// It must never decide on a clock alone: caches fill, connections open and the target's own batching settles at a pace
// that differs between targets. It looks at the figures, and its caller caps how long it may look.

/// One short stretch of a run.
package struct LoadWindow: Sendable, Hashable {
  package var operationsPerSecond: Double
  package var meanLatencyNanoseconds: Double

  package init(operationsPerSecond: Double, meanLatencyNanoseconds: Double) {
    self.operationsPerSecond = operationsPerSecond
    self.meanLatencyNanoseconds = meanLatencyNanoseconds
  }
}

/// Says that a load is steady once the older and the newer half of the last windows agree in rate and in latency.
package struct SteadyState: Sendable {
  /// How many windows each of the two halves has.
  package static let windowsInHalf = 4
  package static let rateTolerance = 0.05
  package static let latencyTolerance = 0.10
  /// Latencies this close are the same, whatever their ratio: below it lies the noise of timers and thread wake-ups.
  package static let latencyNoiseNanoseconds = 50_000.0

  private var recent: [LoadWindow] = []

  package init() {}

  /// Takes the next window into account and returns whether the load is steady now.
  package mutating func observe(_ window: LoadWindow) -> Bool {
    recent.append(window)
    if recent.count > 2 * Self.windowsInHalf { recent.removeFirst() }
    guard recent.count == 2 * Self.windowsInHalf else { return false }
    // A window without a single answer says that the target has not come up yet, or has stopped.
    guard recent.allSatisfy({ $0.operationsPerSecond > 0 }) else { return false }
    let older = recent.prefix(Self.windowsInHalf)
    let newer = recent.suffix(Self.windowsInHalf)
    return Self.agree(older, newer, \.operationsPerSecond, tolerance: Self.rateTolerance, noise: 0)
      && Self.agree(
        older, newer, \.meanLatencyNanoseconds, tolerance: Self.latencyTolerance, noise: Self.latencyNoiseNanoseconds)
  }

  private static func agree(
    _ older: ArraySlice<LoadWindow>, _ newer: ArraySlice<LoadWindow>, _ figure: KeyPath<LoadWindow, Double>,
    tolerance: Double, noise: Double
  ) -> Bool {
    let before = older.reduce(0) { $0 + $1[keyPath: figure] } / Double(older.count)
    let after = newer.reduce(0) { $0 + $1[keyPath: figure] } / Double(newer.count)
    return (after - before).magnitude <= Swift.max(noise, tolerance * Swift.max(before, after))
  }
}
