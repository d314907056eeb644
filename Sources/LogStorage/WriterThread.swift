// Owns a thread of the system's with a name. Blocking flushes must never run on the cooperative pool, where they would
// take a thread away from everything that is `async`.

import Glibc
import Synchronization

/// Gives the calling thread a name for `top -H` and debuggers. By way of /proc, since the function for it is one that
/// Swift's view of the C library does not have; a machine without /proc has a thread without a name.
private func nameThisThread(_ name: String) {
  let descriptor = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return }
  defer { close(descriptor) }
  let bytes = Array(name.utf8)
  _ = write(descriptor, bytes, bytes.count)
}

package final class WriterThread: Sendable {
  private let thread: pthread_t
  private let isJoined = Mutex(false)

  /// A thread's name is cut to 15 characters by the kernel.
  package init(name: String, _ body: @escaping @Sendable () -> Void) {
    let start = Unmanaged.passRetained(Start(name: name, body: body))
    var thread = pthread_t()
    let code = pthread_create(
      &thread, nil,
      { argument in
        // The only pointer ever passed is the one retained above, and this is its only use.
        guard let argument else { return nil }
        let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        nameThisThread(start.name)
        start.body()
        return nil
      }, start.toOpaque())
    precondition(code == 0, "no thread could be started: \(StorageError.text(ofSystemError: code))")
    self.thread = thread
  }

  /// Returns when the thread has ended, whoever asks and however often. A thread that lets go of the last reference to
  /// itself cannot wait for itself, and is left to end alone.
  package func join() {
    isJoined.withLock { isJoined in
      guard !isJoined else { return }
      isJoined = true
      if pthread_equal(thread, pthread_self()) != 0 {
        pthread_detach(thread)
      } else {
        pthread_join(thread, nil)
      }
    }
  }

  private final class Start: Sendable {
    let name: String
    let body: @Sendable () -> Void

    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }
}
