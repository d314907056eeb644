// Owns the words for how a load was made and how a run ended, where a report has more room than a line.

import Measurement

enum LoadText {
  /// "open loop, poisson arrivals at 20,000/s" or "closed loop, 512 clients".
  static func shape(_ shape: LoadShape) -> String {
    switch shape {
    case .open(let process, let rate, _): "open loop, \(process.rawValue) arrivals at \(FigureText.amount(rate))/s"
    case .closed(let clients): "closed loop, \(FigureText.counted(UInt64(clamping: clients), "client"))"
    }
  }

  /// What the shape is applied to.
  static func size(_ configuration: LoadConfiguration) -> String {
    "\(FigureText.counted(UInt64(clamping: configuration.connections), "connection")), \(subject(configuration))"
  }

  /// What the operations are done to.
  private static func subject(_ configuration: LoadConfiguration) -> String {
    let values = "values of \(FigureText.bytes(configuration.valueSizeBytes))"
    let keys = FigureText.counted(configuration.keyCount, "key")
    switch configuration.operation {
    case .put, .get, .mix: return "\(values), \(keys) (\(configuration.keyOrder.rawValue))"
    case .list(let limit): return "\(values), \(keys), up to \(FigureText.count(UInt64(clamping: limit))) a list"
    case .compareAndSwap(let exponent): return "\(values), \(keys), skew \(FigureText.amount(exponent))"
    case .lock(let names, let hold):
      let locks = FigureText.counted(UInt64(clamping: names), "lock")
      return (hold ?? 0) == 0 ? locks : "\(locks), held for \(FigureText.duration(nanoseconds: hold ?? 0))"
    case .renew(let leases, let seconds):
      return "\(FigureText.counted(UInt64(clamping: leases), "lease")) of \(seconds) s"
    case .watch(let watchers): return "\(values), \(FigureText.counted(UInt64(clamping: watchers), "watcher"))"
    case .write(let database, let hasToken, let staleShare):
      let stale = staleShare > 0 ? ", \(FigureText.amount(100 * staleShare)) % stale" : ""
      return "\(values), database \(database)\(hasToken ? stale : ", open")"
    }
  }

  /// The name of the latency that is counted from the call.
  static func fromSend(_ configuration: LoadConfiguration) -> String {
    if case .lock = configuration.operation { return "hand-over" }
    return "from send"
  }

  static func target(_ target: TargetDescription) -> String {
    target.endpoints.joined(separator: ", ") + (target.version.map { " (version \($0))" } ?? "")
  }

  static func verdict(_ verdict: Judgement.Verdict) -> String {
    switch verdict {
    case .valid: "valid"
    case .invalid: "INVALID"
    case .failed: "FAILED"
    }
  }

  /// Nil for a run that did all it was asked to do.
  static func ending(_ ending: RunEnding) -> String? {
    switch ending {
    case .completed: nil
    case .interrupted: "interrupted"
    case .targetLost: "target lost"
    }
  }

  /// How long was measured and, where that is less than was asked for, of how much.
  static func measuredLength(_ result: BenchResult) -> String {
    let length = FigureText.duration(nanoseconds: result.measured.durationNanoseconds)
    guard result.ending != .completed, let asked = result.configuration.durationNanoseconds else { return length }
    return "\(length) of the \(FigureText.duration(nanoseconds: asked)) asked for"
  }

  static func warmUp(_ record: WarmUpRecord) -> String {
    let length = FigureText.duration(nanoseconds: record.durationNanoseconds)
    return switch record.end {
    case .skipped: "none, as asked"
    case .steady: "\(length), until rate and latency were steady"
    case .fixed: "\(length), as asked"
    case .cap: "\(length), its cap, without getting steady: expect the figures to move from run to run"
    case .unfinished: "\(length), unfinished"
    }
  }
}
