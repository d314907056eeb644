// A copy of a cluster's whole replicated state, piece by piece, as one node sends it.

import NIOConcurrencyHelpers
import NIOCore
import Protocol
import Wire

extension Portcullis {
  /// Streams a backup file from the first endpoint that can be reached. Cancelling the task ends it.
  /// - Parameters:
  ///   - serializable: takes what that node has applied, without asking a leader.
  ///   - take: gets the bytes of the file in order, and about how many there will be. It runs on the connection's event loop,
  ///     and while it has not returned nothing more is read: so what a slow disk has not taken waits at the server. When it
  ///     throws, the stream ends with that error.
  package func saveState(
    serializable: Bool, _ take: @escaping @Sendable (_ bytes: [UInt8], _ estimatedBytes: UInt64) throws -> Void
  ) async throws {
    var request = Portcullis_V1_SaveRequest()
    request.serializable = serializable
    var last = RPCStatus(.unavailable, "no endpoint was tried")
    for _ in endpoints {
      let connection: WireConnection
      let metadata: [(String, String)]
      do throws(RPCStatus) {
        connection = try await self.connection()
        metadata = try await authorized([], over: connection, isStream: true)
      } catch {
        guard error.code == .unavailable else { throw ClientError(error, during: Self.saving) }
        last = error
        continue
      }
      let copy = StateCopy(take)
      let stream = connection.openStream(RPCPath.Backup.save, metadata: metadata, handler: copy)
      try stream.send(request)
      stream.halfClose()
      let status = await withTaskCancellationHandler {
        await copy.end()
      } onCancel: {
        stream.cancel()
      }
      if let failure = copy.failure { throw failure }
      if status.code == .ok { return }
      // Nothing was taken yet, so another node may do.
      guard status.code == .unavailable, !copy.hasBegun, !Task.isCancelled else {
        throw ClientError(Self.explained(status), during: Self.saving)
      }
      last = status
      drop(connection)
    }
    throw ClientError(last, during: Self.saving)
  }

  private static let saving = "saving the state"

  private static func explained(_ status: RPCStatus) -> RPCStatus {
    guard status.code == .unimplemented else { return status }
    return RPCStatus(
      status.code, "\(status.message): this is no node of Portcullis. An etcd is saved with `etcdctl snapshot save`")
  }
}

/// `@unchecked Sendable`: `received` and `closed` run on one event loop; what others look at has a lock.
private final class StateCopy: ClientStreamHandler, @unchecked Sendable {
  private struct State {
    var status: RPCStatus?
    var failure: (any Error)?
    var hasBegun = false
    var waiter: CheckedContinuation<RPCStatus, Never>?
  }

  private let take: @Sendable ([UInt8], UInt64) throws -> Void
  private var estimate: UInt64 = 0
  private let state = NIOLockedValueBox(State())

  init(_ take: @escaping @Sendable ([UInt8], UInt64) throws -> Void) {
    self.take = take
  }

  var failure: (any Error)? { state.withLockedValue { $0.failure } }
  var hasBegun: Bool { state.withLockedValue { $0.hasBegun } }

  func received(_ message: ByteBuffer) {
    guard failure == nil else { return }
    do {
      let response = try Portcullis_V1_SaveResponse(received: message)
      if response.estimatedBytes > 0 { estimate = response.estimatedBytes }
      state.withLockedValue { $0.hasBegun = true }
      try take([UInt8](response.blob), estimate)
    } catch {
      // The rest is of no use, and the caller need not wait for it.
      state.withLockedValue { $0.failure = error }
      end(RPCStatus(.cancelled, "what was sent could not be kept"))
    }
  }

  func closed(_ status: RPCStatus) { end(status) }

  private func end(_ status: RPCStatus) {
    let waiter = state.withLockedValue { state -> CheckedContinuation<RPCStatus, Never>? in
      guard state.status == nil else { return nil }
      state.status = status
      defer { state.waiter = nil }
      return state.waiter
    }
    waiter?.resume(returning: status)
  }

  func end() async -> RPCStatus {
    await withCheckedContinuation { continuation in
      let known = state.withLockedValue { state -> RPCStatus? in
        if state.status == nil { state.waiter = continuation }
        return state.status
      }
      if let known { continuation.resume(returning: known) }
    }
  }
}
