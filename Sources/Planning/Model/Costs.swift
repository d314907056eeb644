// Owns what the work of a node costs: the processor time of each step on the way of an operation.
//
// The defaults were measured on a machine with two virtual processors by the calibration of
//
//   portcullis plan --validate --directory DIR --output json      (its field `costs`)
//
// They are costs of that machine. Another one has others, and `--costs FILE` takes what its own calibration found.

/// Processor time in nanoseconds, unless a field says otherwise.
package struct Costs: Sendable, Equatable, Codable {
  /// At the client, for each operation. Counts only where the clients share the nodes' machine.
  package var clientSend = 18_600.0
  /// And for its start at the intended time, where the load is open.
  package var clientDispatch = 2000.0
  package var clientReceive = 18_600.0
  /// A request read and decoded on an event loop; its answer encoded and written.
  package var requestIn = 22_400.0
  package var answerOut = 22_400.0
  /// What the first of them costs more after a wake-up: the code of gRPC is long, and no longer in the caches.
  package var requestWake = 80_300.0
  /// A thread goes to sleep and is woken: the system calls on both sides, and what was forgotten meanwhile. That much after a
  /// long rest of the thread, and less after a short one (Processors.swift).
  package var clientWake = 336_000.0
  package var dispatcherWake = 61_500.0
  package var eventLoopWake = 167_000.0
  package var loopWake = 60_200.0
  package var writerWake = 91_500.0
  /// A message to a peer encoded and written, or read and decoded; and each entry in it.
  package var messageOut = 4950.0
  package var messageIn = 4950.0
  package var entryOnWire = 337.0
  /// Something between the nodes that holds messages back takes one up, or passes it on, and how much its thread's waking is.
  package var relay = 139.0
  package var relayWake = 274_000.0
  /// A turn of the loop, whatever it has to do.
  package var turn = 12_100.0
  /// And more where anything is applied: it is published, and timers and metrics are looked at.
  package var applyTurn = 30_400.0
  /// A command that is proposed, one that is applied, and a linearizable read, on the loop.
  package var proposal = 9350.0
  package var apply = 21_800.0
  package var read = 9350.0
  /// A group of the log writer beside its flush; each entry in it; each entry that is moved into the tree later.
  package var group = 52_100.0
  package var groupEntry = 1380.0
  package var settleEntry = 590.0
  /// What the kernel does when a flush ends, on a thread of its own.
  package var flushEnd = 481.0
  /// What the host of a virtual machine works for a flush, on the quota of the machine's processors (ProcessorQuota.swift); 0 where
  /// there is no quota.
  package var flushOfHost = 69_200.0
  /// An event to one watcher.
  package var event = 6720.0
  /// Not processor time: from waking a thread to its first instruction, on a processor that was at rest for a while.
  package var wakeLatency = 6440.0
  /// And that much more after a rest by which the caches are cold as well.
  package var coldWakeLatency = 42_600.0
  /// No time but a share, from 0 to 1: what remains of the latency of waking where the processor has hardly rested.
  package var wakeFloor = 0.0113
  /// After so long a rest of the processor waking it takes half of that latency: what lies below a virtual machine keeps it
  /// ready for a while.
  package var deepRest = 180_000.0
  /// After so long a rest of the thread half of what it needs is no longer in the caches.
  package var coldRest = 2_000_000.0
  /// Shares from 0 to 1 of the work of waking that are due where nothing is cold: where a processor rests, and where none does.
  package var wakeWorkAfterRest = 0.0208
  package var wakeWorkWithoutRest = 0.216
  /// The share of the work of waking that comes before what the thread was woken for; what remains is that of going to sleep.
  package var wakeWorkBefore = 0.14
  /// The same share of that part which is due to rest: what is fetched into the caches anew is mostly fetched before.
  package var coldWorkBefore = 0.586
  /// A share: by how much a piece of work takes longer than its thread is charged for. Interrupts, and what the kernel does for the
  /// network in the thread's stead.
  package var uncounted = 0.24
  /// A share: how often a processor that has nothing left to do leaves alone what waits for another one.
  package var leftInLine = 0.363
  /// How often a second something that is no part of the cluster takes one of a machine's processors, and for how long at the
  /// mean: the kernel's own threads, and what lies below a virtual machine.
  package var stallsPerSecond = 0.0
  package var stallNanoseconds = 5_000_000.0

  package init() {}

  /// The same with all processor time multiplied. Waiting for a processor to wake up is not its speed.
  package func scaled(by factor: Double) -> Costs {
    var costs = self
    for field in Self.work { costs[keyPath: field] *= factor }
    return costs
  }

  /// Every field that is processor time.
  private static var work: [WritableKeyPath<Costs, Double>] {
    [
      \.clientSend, \.clientDispatch, \.clientReceive, \.requestIn, \.answerOut, \.requestWake, \.clientWake,
      \.dispatcherWake, \.eventLoopWake, \.loopWake, \.writerWake, \.messageOut, \.messageIn,
      \.entryOnWire, \.relay, \.relayWake, \.turn, \.applyTurn, \.proposal, \.apply, \.read, \.group, \.groupEntry,
      \.settleEntry, \.event, \.flushEnd, \.flushOfHost,
    ]
  }

  /// Nothing costs anything.
  package static let none: Costs = {
    var costs = Costs().scaled(by: 0)
    costs.wakeLatency = 0
    costs.coldWakeLatency = 0
    costs.uncounted = 0
    costs.leftInLine = 0
    costs.stallsPerSecond = 0
    return costs
  }()

  /// Why these cannot be costs, or nil.
  package var complaint: String? {
    let all = Self.work.map { self[keyPath: $0] } + [wakeLatency, coldWakeLatency, deepRest, coldRest]
    let shares = [
      ("wake_floor", wakeFloor), ("wake_work_after_rest", wakeWorkAfterRest),
      ("wake_work_without_rest", wakeWorkWithoutRest), ("wake_work_before", wakeWorkBefore),
      ("cold_work_before", coldWorkBefore),
      ("uncounted", uncounted), ("left_in_line", leftInLine),
    ]
    for (name, share) in shares where !(share >= 0 && share <= 1) {
      return "\(name) is a share from 0 to 1, not \(share)"
    }
    guard stallsPerSecond >= 0, stallsPerSecond <= 1000, stallNanoseconds >= 0, stallNanoseconds < 1e9 else {
      return "stalls_per_second is from 0 to 1000, and stall_nanoseconds less than a second"
    }
    guard all.allSatisfy({ $0.isFinite && $0 >= 0 && $0 < 1e9 }) else {
      return "a cost is negative, or a second and more: costs are nanoseconds of processor time"
    }
    return nil
  }
}
