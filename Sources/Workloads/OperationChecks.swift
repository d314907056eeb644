// Owns which operations a load can be made of.

import Measurement

extension LoadOptions {
  /// Says of the first thing that cannot be done what was seen and what is possible.
  func checkOperation(_ operation: OperationSetting) throws(WorkloadError) {
    switch operation {
    case .put, .get: break
    case .list(let limit): try checkList(limit)
    case .compareAndSwap(let exponent): try checkCompare(exponent)
    case .lock(let names, let hold):
      try check(names, "locks", 1...100_000)
      guard hold ?? 0 < callTimeout.wholeNanoseconds else {
        throw refusal("a lock that is held for \(callTimeout) or longer looks like one that is never granted")
      }
      guard case .closed(let clients) = shape else {
        throw refusal("locks are taken by clients in turn, which is a closed loop: give clients and no rate")
      }
      guard names <= clients else { throw refusal("\(names) locks for \(clients) clients would leave some alone") }
    case .renew(let leases, let seconds): try checkRenewal(leases, seconds)
    case .watch(let watchers): try check(watchers, "watchers", 1...1_000_000)
    case .write(let database, let hasToken, let staleShare): try checkWrite(database, hasToken, staleShare)
    case .mix(let parts): try checkMix(parts)
    }
  }

  private func checkList(_ limit: Int) throws(WorkloadError) {
    try check(limit, "keys in a list", 1...1_000_000)
    guard keyPrefix.utf8.last.map({ $0 < 0x80 }) ?? false else {
      throw refusal("a list needs a key prefix that ends in an ASCII character; \"\(keyPrefix)\" does not")
    }
  }

  private func checkCompare(_ exponent: Double) throws(WorkloadError) {
    guard exponent.isFinite, (0...10).contains(exponent) else {
      throw refusal("a skew of \(exponent) was asked for; from 0 (all keys alike) to 10 are possible, 1 is usual")
    }
    guard keyCount <= ZipfDistribution.mostRanks else {
      throw refusal("\(keyCount) keys were asked for; compare-and-swap takes up to \(ZipfDistribution.mostRanks)")
    }
  }

  /// At a given rate each lease's turn must come while it lives.
  private func checkRenewal(_ leases: Int, _ seconds: Int64) throws(WorkloadError) {
    try check(leases, "leases", 1...1_000_000)
    try check(Int(seconds), "seconds of time to live", 1...1_000_000)
    guard case .open(_, let rate, _) = shape, Double(leases) / rate > 0.8 * Double(seconds) else { return }
    throw refusal(
      "\(leases) leases at \(rate) renewals a second come to their turn after \(Int(Double(leases) / rate)) s, and live "
        + "for \(seconds) s; raise the rate or the time to live, or take fewer leases")
  }

  private func checkWrite(_ database: String, _ hasToken: Bool, _ staleShare: Double) throws(WorkloadError) {
    guard let write, write.database == database, hasToken == (write.core != nil) else {
      throw refusal("a load of writes needs the gateway's database and the core that gives its tokens")
    }
    guard (0...1).contains(staleShare) else {
      throw refusal("a stale share of \(staleShare) was asked for; from 0 to 1 are possible")
    }
    guard staleShare == 0 || hasToken else {
      throw refusal("stale writes need tokens, and an open database asks for none")
    }
  }

  private func checkMix(_ parts: [MixPart]) throws(WorkloadError) {
    guard !parts.isEmpty else { throw refusal("a mix without operations makes no load") }
    guard parts.allSatisfy({ $0.weight.isFinite && $0.weight > 0 }) else {
      throw refusal("each operation of a mix needs a weight above 0")
    }
    for part in parts {
      switch part.operation {
      case .put, .get, .list, .compareAndSwap: try checkOperation(part.operation)
      default: throw refusal("\(part.operation.name) cannot be part of a mix; put, get, list and cas can")
      }
    }
  }
}
