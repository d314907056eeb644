// Owns the thread that starts the operations of an open loop when they are due.
//
// It must never wait for anything but the clock: no answer, no event loop and no lock that is held for long. An event
// loop's own timers are up to milliseconds late under load, which is why this is a thread that sleeps to absolute
// instants.
//
// Invariant: each arrival of the schedule before the end is handed to exactly one event loop, in order.

import Glibc
import Measurement
import NIOCore
import Synchronization

/// What the dispatcher has handed to one event loop and the loop has not taken yet: intended starts.
final class ArrivalMailbox: Sendable {
  private struct Content {
    var arrivals: [UInt64] = []
    var isAnnounced = false
  }

  private let content = Mutex(Content())

  /// Puts arrivals in, and returns whether the loop must be told: it need not when it has been and has not looked yet.
  func put(_ arrivals: [UInt64]) -> Bool {
    content.withLock { content in
      content.arrivals.append(contentsOf: arrivals)
      defer { content.isAnnounced = true }
      return !content.isAnnounced
    }
  }

  /// Takes everything out, leaving the room of `emptied` behind so that neither side allocates in the long run.
  func take(leaving emptied: inout [UInt64]) {
    emptied.removeAll(keepingCapacity: true)
    content.withLock { content in
      content.isAnnounced = false
      swap(&content.arrivals, &emptied)
    }
  }
}

final class ArrivalDispatcher: Sendable {
  struct Receiver: Sendable {
    var eventLoop: any EventLoop
    var mailbox: ArrivalMailbox
    /// Called on the event loop when there is something in the mailbox.
    var collect: @Sendable () -> Void
  }

  /// The longest sleep. It bounds how long a stop takes and nothing else.
  private static let longestSleepNanoseconds: UInt64 = 20_000_000
  /// How old the figure of the thread's CPU time may be. To read that clock is a system call, which at each of twenty
  /// thousand wake-ups a second would be a twelfth of what the thread does.
  private static let cpuFigureNanoseconds: UInt64 = 5_000_000

  private let schedule: ArrivalSchedule
  private let receivers: [Receiver]
  /// The receiver of each lane, so that every lane gets the same share of the arrivals.
  private let receiverOfLane: [Int]
  private let frame: LoadFrame
  private let limit: UInt64?
  private let cpuNanoseconds = Atomic<UInt64>(0)
  private let isDone = Atomic<Bool>(false)

  init(
    schedule: ArrivalSchedule, receivers: [Receiver], receiverOfLane: [Int], frame: LoadFrame, limit: UInt64?
  ) {
    self.schedule = schedule
    self.receivers = receivers
    self.receiverOfLane = receiverOfLane
    self.frame = frame
    self.limit = limit
  }

  /// CPU time of the thread, as of some milliseconds ago.
  var threadCPUNanoseconds: UInt64 { cpuNanoseconds.load(ordering: .relaxed) }

  /// Whether every arrival has been given to an event loop. Whoever sees true finds them queued there.
  var hasHandedOverAll: Bool { isDone.load(ordering: .acquiring) }

  /// Starts the thread. The promise is kept when the last arrival has been handed over.
  func start(atNanoseconds origin: UInt64, finished: EventLoopPromise<Void>) throws(WorkloadError) {
    try DispatcherThread.start {
      self.run(origin)
      self.isDone.store(true, ordering: .releasing)
      finished.succeed()
    }
  }

  private func run(_ origin: UInt64) {
    Self.askForPunctualWakeUps()
    var schedule = schedule
    var handout = Handout(receiverOfLane: receiverOfLane, receivers: receivers.count)
    var measured: UInt64 = 0
    var cpuFigureDue: UInt64 = 0
    var next = origin &+ schedule.next()
    while next < frame.until {
      let now = MonotonicClock.nanoseconds()
      guard next <= now else {
        if now >= cpuFigureDue {
          cpuNanoseconds.store(MonotonicClock.threadCPUNanoseconds(), ordering: .relaxed)
          cpuFigureDue = now + Self.cpuFigureNanoseconds
        }
        MonotonicClock.sleep(untilNanoseconds: Swift.min(next, now + Self.longestSleepNanoseconds))
        continue
      }
      let from = frame.from
      let until = frame.until
      var isOver = false
      while next <= now, next < until, !isOver {
        handout.add(next)
        if next >= from {
          measured += 1
          isOver = measured == limit
        }
        next = origin &+ schedule.next()
      }
      deliver(&handout)
      if isOver { return }
    }
  }

  private func deliver(_ handout: inout Handout) {
    for (index, receiver) in receivers.enumerated() where !handout.batches[index].isEmpty {
      if receiver.mailbox.put(handout.batches[index]) { receiver.eventLoop.execute(receiver.collect) }
      handout.batches[index].removeAll(keepingCapacity: true)
    }
  }

  /// The kernel may wake a thread up to its timer slack late to save power, 50 µs as a rule. proc(5): a thread may
  /// lower its own. Where that is refused, the lag shows it.
  private static func askForPunctualWakeUps() {
    // The link reads "process/task/thread". The slack of any thread is under /proc/thread, and only there.
    guard let link = KernelFile.link(at: "/proc/thread-self"), let thread = link.split(separator: "/").last else {
      return
    }
    KernelFile.write("1", to: "/proc/\(thread)/timerslack_ns")
  }
}

/// Arrivals on their way to the event loops, dealt out to the lanes in turn.
private struct Handout {
  var batches: [[UInt64]]
  private let receiverOfLane: [Int]
  private var lane = 0

  init(receiverOfLane: [Int], receivers: Int) {
    self.receiverOfLane = receiverOfLane
    batches = [[UInt64]](repeating: [], count: receivers)
  }

  mutating func add(_ arrival: UInt64) {
    batches[receiverOfLane[lane]].append(arrival)
    lane = lane + 1 == receiverOfLane.count ? 0 : lane + 1
  }
}

/// A detached thread with a name.
private enum DispatcherThread {
  private final class Body {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  static func start(_ run: @escaping @Sendable () -> Void) throws(WorkloadError) {
    let body = Unmanaged.passRetained(Body(run))
    var thread = pthread_t()
    let code = pthread_create(
      &thread, nil,
      { argument in
        guard let argument else { return nil }
        let body = Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
        KernelFile.write("arrivals", to: "/proc/thread-self/comm")
        body.run()
        return nil
      }, body.toOpaque())
    guard code == 0 else {
      body.release()
      throw WorkloadError(.system, "no thread could be started for the arrivals: \(String(cString: strerror(code)))")
    }
    pthread_detach(thread)
  }
}
