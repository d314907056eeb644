// Owns when processors stand still though there is work: something else has one, or the machine's quota is used up.

import RaftCore

extension Engine {
  // MARK: What else takes processors

  /// Something that is no part of the cluster takes a processor of a machine for a while.
  mutating func hold(machine: Int) {
    let now = queue.nowNanoseconds
    scheduleHold(of: machine)
    let processor = Int(random.unitInterval() * Double(machines[machine].processors.count))
    guard !machines[machine].processors[processor].isHeld(at: now) else { return }
    let length = UInt64(varied(scenario.costs.stallNanoseconds))
    hold(processor, of: machine, until: now + length)
  }

  mutating func scheduleHold(of machine: Int) {
    guard scenario.costs.stallsPerSecond > 0 else { return }
    let gap = random.exponential(mean: 1e9 / scenario.costs.stallsPerSecond)
    queue.push(.hold(machine: machine), afterNanoseconds: UInt64(gap))
  }

  private mutating func hold(_ processor: Int, of machine: Int, until end: UInt64) {
    let now = queue.nowNanoseconds
    let from = max(now, machines[machine].processors[processor].heldUntil)
    guard end > from else { return }
    machines[machine].processors[processor].heldUntil = end
    if machines[machine].processors[processor].running != nil {
      machines[machine].processors[processor].owed += end - from
      machines[machine].processors[processor].countedUntil += end - from
    }
    queue.push(.released(machine: machine, processor: processor), atNanoseconds: end)
  }

  mutating func released(_ processor: Int, of machine: Int) {
    guard machines[machine].processors[processor].running == nil else { return }
    giveOut(processor, of: machine)
  }

  /// What a thread is at ends later by as long as its processor was held meanwhile; nil where it was not.
  mutating func delayByHold(of thread: Int) -> UInt64? {
    let (machine, processor) = (workers[thread].machine, workers[thread].processor)
    let owed = machines[machine].processors[processor].owed
    machines[machine].processors[processor].owed = 0
    return owed > 0 ? owed : nil
  }

  // MARK: The quota

  private var hasQuota: Bool { scenario.costs.flushOfHost > 0 }

  /// Ends a rest of the processor, of which a part was spent on looking for work.
  mutating func countRest(of processor: Int, at machine: Int) {
    guard hasQuota else { return }
    let now = queue.nowNanoseconds
    let began = machines[machine].processors[processor].restingSince
    let spent = machines[machine].processors[processor].polling.spent(inRestOf: now - min(now, began))
    machines[machine].processors[processor].countedUntil = now
    count(Double(spent), of: processor, at: machine)
  }

  /// What a processor has used since it was last counted.
  mutating func countUse(of processor: Int, at machine: Int) {
    guard hasQuota else { return }
    let now = queue.nowNanoseconds
    let used = now - min(now, machines[machine].processors[processor].countedUntil)
    machines[machine].processors[processor].countedUntil = now
    count(Double(used), of: processor, at: machine)
  }

  /// The host has served a flush.
  mutating func countFlush(at machine: Int) {
    guard hasQuota else { return }
    count(scenario.costs.flushOfHost, of: nil, at: machine)
  }

  private mutating func count(_ nanoseconds: Double, of processor: Int?, at machine: Int) {
    let end = machines[machine].quota.use(nanoseconds, of: processor, at: queue.nowNanoseconds)
    guard let end, let processor else { return }
    machines[machine].stoppedNanoseconds += Double(end - queue.nowNanoseconds)
    hold(processor, of: machine, until: end)
  }
}
