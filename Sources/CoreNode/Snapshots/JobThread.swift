// A thread of its own for work that may wait for a disk or take long: one job after another, in the order in which they
// were given. What it has to say it says by the job's own closure, which nearly always appends to the loop's inbox.

import Foundation
import Glibc
import Synchronization

final class JobThread: Sendable {
  private enum Job: Sendable {
    case run(@Sendable () -> Void)
    case end
  }

  private let inbox = Inbox<Job>()
  private let ended = DispatchSemaphore(value: 0)
  private let isEnding = Atomic(false)

  /// - Parameter niceness: how far behind other threads it stands where they compete for a processor (nice(2)).
  init(name: String, niceness: Int32) {
    let thread = Thread { [inbox, ended] in
      // On Linux 0 is the calling thread, not the process.
      if niceness != 0 { setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, niceness) }
      var jobs: [Job] = []
      while true {
        inbox.take(into: &jobs, untilNanoseconds: UInt64.max)
        for job in jobs {
          guard case .run(let body) = job else {
            ended.signal()
            return
          }
          body()
        }
        jobs.removeAll()
      }
    }
    thread.name = name
    thread.start()
  }

  func submit(_ job: @escaping @Sendable () -> Void) { inbox.append(.run(job)) }

  /// Whether the job that is running should give up.
  var isStopping: Bool { isEnding.load(ordering: .relaxed) }

  /// Returns when the thread has ended. Jobs that were given before are run, and may look at `isStopping`.
  func stop() {
    isEnding.store(true, ordering: .relaxed)
    inbox.append(.end)
    ended.wait()
  }
}
