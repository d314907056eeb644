// Takes, reads, stages and decodes snapshots, on two threads that are nobody else's: one writes this node's own
// snapshots, slowly and for a long time; the other moves them between nodes, where a follower waits.
//
// It must never: run on the loop's thread, touch the state that the loop works on (a snapshot is of a root that no longer
// changes), or report a snapshot that is not whole and durable.

import CoordinationCore
import LogStorage
import Logging
import RaftCore

/// Carries a state between threads: the value itself is too large to be passed around in queues.
final class StateBox: Sendable {
  let state: Coordination
  init(_ state: Coordination) { self.state = state }
}

/// A snapshot that was taken.
struct TakenSnapshot: Sendable {
  let description: SnapshotDescription
  let seconds: Double
}

enum StageResult: Sendable {
  case staged(through: UInt64)
  /// All is there, and this is the state in it.
  case ready(StateBox)
  case rejected
}

final class SnapshotKeeper: Sendable {
  /// Bytes encoded at a time: what the snapshot's thread holds a processor for.
  private static let pieceBytes = 64 << 10

  private let store: SnapshotStore
  private let limits: NodeLimits
  private let logger: Logger
  private let taker = JobThread(name: "snapshot-taker", niceness: 10)
  private let mover = JobThread(name: "snapshot-mover", niceness: 0)

  init(store: SnapshotStore, limits: NodeLimits, logger: Logger) {
    self.store = store
    self.limits = limits
    self.logger = logger
  }

  func stop() {
    taker.stop()
    mover.stop()
  }

  /// Lets go of something large on a thread where its freeing delays nobody.
  func release(_ object: any Sendable & AnyObject) {
    mover.submit { withExtendedLifetime(object) {} }
  }

  // MARK: Taking

  /// Writes a snapshot of `state`. `done` gets nil when that failed, which loses nothing: the log is still there.
  func take(_ state: StateBox, at point: SnapshotPoint, _ done: @escaping @Sendable (TakenSnapshot?) -> Void) {
    taker.submit { [self] in
      let began = MachineClock.monotonicNanoseconds
      do {
        guard let description = try write(state.state, at: point) else { return done(nil) }
        let seconds = Double(MachineClock.monotonicNanoseconds - began) / 1e9
        logger.info(
          "snapshot taken",
          metadata: [
            "index": "\(point.index.rawValue)", "bytes": "\(description.totalBytes)", "seconds": "\(seconds)",
          ])
        done(TakenSnapshot(description: description, seconds: seconds))
        // One that another node took may have come meanwhile.
        store.prune(keeping: store.newest() ?? description)
      } catch {
        logger.error("a snapshot could not be taken; the log stays as it is", metadata: ["cause": "\(error)"])
        done(nil)
      }
    }
  }

  private func write(_ state: Coordination, at point: SnapshotPoint) throws(StorageError) -> SnapshotDescription? {
    let writer = try store.begin(point)
    var encoder = StateWriter(state)
    var pace = Pace(bytesPerSecond: limits.snapshotBytesPerSecond)
    do throws(StorageError) {
      while let piece = encoder.next(maxBytes: Self.pieceBytes) {
        if taker.isStopping {
          writer.abandon()
          return nil
        }
        try writer.append(piece)
        pace.moved(piece.count)
      }
      return try writer.finish()
    } catch {
      writer.abandon()
      throw error
    }
  }

  // MARK: Moving

  /// Reads a stretch for a follower.
  func read(_ request: SnapshotRead, _ done: @escaping @Sendable (SnapshotChunk?) -> Void) {
    mover.submit { [self] in
      guard let description = request.description ?? store.newest() else { return done(nil) }
      do throws(StorageError) {
        let chunk = try store.read(description, offset: request.offset, maxBytes: request.maxBytes)
        var pace = Pace(bytesPerSecond: limits.transferBytesPerSecond)
        pace.moved(chunk?.bytes.count ?? 0)
        done(chunk)
      } catch {
        logger.error("a snapshot could not be read for a follower", metadata: ["cause": "\(error)"])
        done(nil)
      }
    }
  }

  /// Keeps a stretch that came in, and reads the whole when it was the last one.
  func stage(_ chunk: SnapshotChunk, _ done: @escaping @Sendable (StageResult) -> Void) {
    mover.submit { [self] in
      do {
        let through = try store.stage(chunk)
        guard through == chunk.description.totalBytes, chunk.isLast else { return done(.staged(through: through)) }
        guard try store.finishStaging(chunk.description) else { return done(.rejected) }
        done(.ready(StateBox(try Self.state(of: chunk.description, in: store))))
      } catch {
        logger.error("a snapshot that was sent cannot be used", metadata: ["cause": "\(error)"])
        // The sender begins again; a disk that is full now may have room then.
        var pace = Pace(bytesPerSecond: 1)
        pace.moved(1)
        done(.rejected)
      }
    }
  }

  /// Reads the state in a snapshot. Takes as long as it takes; for a thread that may wait.
  static func state(of description: SnapshotDescription, in store: SnapshotStore) throws -> Coordination {
    let content = try store.content(of: description)
    var reader = StateReader()
    while let piece = try content.next() { try reader.read(piece) }
    return try reader.finish()
  }
}
