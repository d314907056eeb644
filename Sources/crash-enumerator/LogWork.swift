// Owns the program that is recorded: it carries out a plan against a real log, and says before each persist that it was
// handed over and afterwards that it was acknowledged.
//
//   o      the log was opened for the first time
//   b<n>   the first n persists were handed over
//   d<n>   the first n persists were acknowledged

import Glibc
import LogStorage
import RaftCore
import Synchronization

enum LogWork {
  static func run(_ plan: LogPlan, directory: String, marks: Marks) throws {
    var opened = try LogStorage.open(directory: directory, identity: LogPlan.identity, options: plan.options).storage
    marks.set("o")
    var begun = 0
    var writer = plan.hasWriter ? makeWriter(opened, marks) : nil
    for step in plan.steps {
      switch step {
      case .append(let batch):
        begun += batch.count
        marks.set("b\(begun)")
        if let writer {
          for persist in batch { writer.submit(persist) }
        } else {
          try opened.append(batch)
          marks.set("d\(begun)")
        }
      case .settle:
        // A writer settles when it ends.
        if writer == nil { try opened.settle() } else { continue }
      case .reopen:
        writer?.stop()
        opened.close()
        opened = try LogStorage.open(directory: directory, identity: LogPlan.identity, options: plan.options).storage
        writer = plan.hasWriter ? makeWriter(opened, marks) : nil
      }
    }
    writer?.stop()
    opened.close()
  }

  /// Sequences are counted from 1, so that the newest durable one is the number of durable persists.
  private static func makeWriter(_ storage: LogStorage, _ marks: Marks) -> LogWriter {
    LogWriter(
      storage: storage, onPersisted: { sequence, _ in marks.set("d\(sequence)") },
      onFailure: { preconditionFailure("the log could not be written: \($0)") })
  }
}
