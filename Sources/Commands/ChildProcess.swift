// A program that runs as a process group of its own, so that it can be ended with everything that it started.

import Foundation
package import Glibc

package final class ChildProcess: Sendable {
  package let processID: pid_t
  private let exit: Task<Int32, Never>

  /// Starts a program found on the PATH. On a terminal it becomes the foreground group, so Ctrl-C and Ctrl-Z reach it
  /// as they would without us.
  /// - Parameter keeping: the descriptors that the program gets beside the three streams. A connection of ours in its
  ///   hands would be one that it could write to, and that stayed open when we close it: SwiftNIO's sockets are inherited
  ///   unless they are closed here.
  package init(
    _ arguments: [String], environment: [String: String], keeping: Set<Int32>
  ) throws(CommandFailure) {
    precondition(!arguments.isEmpty, "a program has a name")
    processID = try Self.spawn(arguments, environment, closing: Self.openDescriptors.subtracting(keeping))
    if isatty(STDIN_FILENO) == 1 {
      // Handing the terminal over, and taking it back, must not stop us.
      signal(SIGTTOU, SIG_IGN)
      tcsetpgrp(STDIN_FILENO, processID)
    }
    exit = Self.wait(for: processID)
  }

  /// What this process has open now, beside the three streams.
  package static var openDescriptors: Set<Int32> {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
    // The listing itself was open, and is no longer.
    return Set(names.compactMap { Int32($0) }.filter { $0 > STDERR_FILENO && fcntl($0, F_GETFD) >= 0 })
  }

  /// What a shell would report: the exit code, or 128 and the signal that ended it.
  package func exitCode() async -> Int32 {
    let code = await exit.value
    if isatty(STDIN_FILENO) == 1 { tcsetpgrp(STDIN_FILENO, getpgrp()) }
    return code
  }

  /// Sends a signal to the whole group; nothing happens when it is gone.
  package func send(_ number: Int32) { kill(-processID, number) }

  /// Asks the group to end, and makes it end when it has not after `grace`.
  package func end(grace: Duration) async {
    send(SIGTERM)
    // A stopped process acts on SIGTERM only when it goes on.
    send(SIGCONT)
    await withTaskGroup(of: Void.self) { group in
      group.addTask { _ = await self.exit.value }
      group.addTask {
        if (try? await Task.sleep(for: grace)) != nil { self.send(SIGKILL) }
      }
      await group.next()
      group.cancelAll()
    }
    // Whatever the leader left behind in its group goes as well.
    send(SIGKILL)
    _ = await exit.value
  }

  private static func spawn(
    _ arguments: [String], _ environment: [String: String], closing: Set<Int32>
  ) throws(CommandFailure) -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    // One that is closed by now is no error.
    for descriptor in closing { posix_spawn_file_actions_addclose(&actions, descriptor) }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // Signals that are ignored here would stay ignored there.
    var defaults = sigset_t()
    sigemptyset(&defaults)
    for number in [SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGTTOU] { sigaddset(&defaults, number) }
    posix_spawnattr_setsigdefault(&attributes, &defaults)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF))
    var pointers = arguments.map { strdup($0) } + [nil]
    var variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer {
      for pointer in pointers { free(pointer) }
      for variable in variables { free(variable) }
    }
    var process: pid_t = 0
    let result = posix_spawnp(&process, arguments[0], &actions, &attributes, &pointers, &variables)
    guard result == 0 else {
      throw CommandFailure(
        ExitCode.notFound, "\(arguments[0]) cannot be started: \(String(cString: strerror(result)))")
    }
    return process
  }

  /// Waits on a thread of its own: `waitpid` blocks.
  private static func wait(for process: pid_t) -> Task<Int32, Never> {
    Task {
      await withCheckedContinuation { continuation in
        Thread.detachNewThread {
          var status: Int32 = 0
          while waitpid(process, &status, 0) == -1, errno == EINTR {}
          let signal = status & 0x7F
          continuation.resume(returning: signal == 0 ? (status >> 8) & 0xFF : 128 + signal)
        }
      }
    }
  }
}
