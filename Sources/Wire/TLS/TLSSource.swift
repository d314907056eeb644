// The certificates in force, read anew when their files change.
//
// etcd reads certificate and key for each handshake. Here a handshake looks at the files' times, at most once a second, and
// only a change is read. The look runs on a thread of its own, and the handshakes that come meanwhile wait for it: so no
// event loop blocks on a disk, and the first connection after a quiet night gets the certificate that was renewed in it.
//
// Invariants: what is in force was whole and valid when it was read; what is not stays out, with one line in the log.

import Dispatch
package import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL

package final class TLSSource: Sendable {
  private struct State {
    var material: TLSMaterial
    var context: NIOSSLContext
    var stamps: [FileStamp]
    /// The files are read again at the next look, even if their times are the same.
    var isYoung: Bool
    var nextLook: NIODeadline
    /// Handshakes that wait for a look that is under way.
    var waiting: [EventLoopPromise<NIOSSLContext>]?
    /// What was wrong with the files at the last look, so that it is said once.
    var complaint: String?
  }

  private static let lookInterval = TimeAmount.seconds(1)
  private static let queue = DispatchQueue(label: "portcullis.certificates")

  package let settings: TLSSettings
  let role: TLSSettings.Role
  private let logger: Logger
  private let state: NIOLockedValueBox<State>

  /// Reads the files; blocks.
  package init(_ settings: TLSSettings, _ role: TLSSettings.Role, logger: Logger) throws(TLSError) {
    self.settings = settings
    self.role = role
    self.logger = logger
    let stamps = FileStamp.of(settings)
    let material = try TLSMaterial.read(settings)
    let context = try material.context(settings, role)
    self.state = NIOLockedValueBox(
      State(
        material: material, context: context, stamps: stamps, isYoung: Self.isYoung(stamps),
        nextLook: .now() + Self.lookInterval))
    if let key = settings.keyFile, FileStamp.isReadableByOthers(key) {
      logger.warning("every user of this machine can read the key \(key): chmod 600 \(key)")
    }
  }

  /// The context for one more handshake. Any thread.
  func context(on eventLoop: any EventLoop) -> EventLoopFuture<NIOSSLContext> {
    enum Next {
      case use(NIOSSLContext)
      case wait(EventLoopFuture<NIOSSLContext>)
      case look(EventLoopFuture<NIOSSLContext>)
    }
    let next = self.state.withLockedValue { state -> Next in
      if state.waiting == nil, NIODeadline.now() < state.nextLook { return .use(state.context) }
      let promise = eventLoop.makePromise(of: NIOSSLContext.self)
      if state.waiting != nil {
        state.waiting?.append(promise)
        return .wait(promise.futureResult)
      }
      state.waiting = [promise]
      return .look(promise.futureResult)
    }
    switch next {
    case .use(let context): return eventLoop.makeSucceededFuture(context)
    case .wait(let future): return future
    case .look(let future):
      Self.queue.async { self.look() }
      return future
    }
  }

  private func look() {
    let (known, isYoung, material) = self.state.withLockedValue { ($0.stamps, $0.isYoung, $0.material) }
    // Before reading: what is written while it is read shows at the next look.
    let stamps = FileStamp.of(self.settings)
    if isYoung || stamps != known { self.reload(stamps, over: material) }
    let (waiting, context) = self.state.withLockedValue { state in
      defer { state.waiting = nil }
      state.nextLook = .now() + Self.lookInterval
      return (state.waiting ?? [], state.context)
    }
    for promise in waiting { promise.succeed(context) }
  }

  private func reload(_ stamps: [FileStamp], over old: TLSMaterial) {
    do throws(TLSError) {
      let new = try TLSMaterial.read(self.settings)
      let context = new == old ? nil : try new.context(self.settings, self.role)
      let isMended = self.state.withLockedValue { state in
        state.stamps = stamps
        state.isYoung = Self.isYoung(stamps)
        if let context { (state.material, state.context) = (new, context) }
        defer { state.complaint = nil }
        return state.complaint != nil
      }
      if context != nil || isMended { self.logger.notice("certificates were read anew", metadata: self.metadata) }
    } catch {
      let text = "\(error)"
      let isNew = self.state.withLockedValue { state in
        // A file may be half written: it is looked at again.
        state.isYoung = true
        defer { state.complaint = text }
        return state.complaint != text
      }
      if isNew { self.logger.error("changed certificates are not used, the old ones stay in force: \(text)") }
    }
  }

  private var metadata: Logger.Metadata {
    let files = [self.settings.certificateFile, self.settings.trustedCAFile].compactMap { $0 }
    return ["files": "\(files.joined(separator: ", "))"]
  }

  private static func isYoung(_ stamps: [FileStamp]) -> Bool {
    let now = WallClock.now()
    return stamps.contains { $0.isYoung(at: now) }
  }
}
