# Boots another kernel in a virtual machine. The scripts in this directory source this file, which
# installs packages, and so needs root on Debian.
#
# QEMU emulates the processor (`-accel tcg`), even if there is a /dev/kvm: the machines that CI uses
# are virtual machines themselves, whose KVM (kvm_pvm) does not boot Debian's kernel.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/root/{bin,dev,proc,sys,tmp}

get_packages() {
  local package missing=()
  for package in qemu-system-x86 busybox-static cpio jq python3; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq \
    --no-install-recommends "${missing[@]}" >/dev/null
}

# Unpacks a kernel: that of Debian's package for virtual machines, or of the package or .deb file
# in the first argument.
get_kernel() {
  local kernel=${1:-}
  if [[ -z $kernel ]]; then
    kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-.*\)/\1/p')
  fi
  if [[ $kernel != *.deb ]]; then
    (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$kernel")
    kernel=$(echo "$work"/*.deb)
  fi
  dpkg-deb -x "$kernel" "$work/kernel"
}

# Copies files into the virtual machine, to the same paths. For programs, also copies their shared
# libraries, and leaves out the debug information, which would take too much memory.
copy() {
  local path library
  for path in "$@"; do
    mkdir -p "$work/root${path%/*}"
    cp -rL "$path" "$work/root$path"
    [[ -f $path && $(head -c 4 "$path") == $'\x7fELF' ]] || continue
    strip --strip-debug "$work/root$path"
    for library in $(ldd "$path" 2>/dev/null | grep -o '/[^ ]*' || true); do
      [[ -e $work/root$library ]] || copy "$library"
    done
  done
}

# Boots the virtual machine with these kernel parameters. Its init is the script on standard input,
# which writes to the console. The console goes to $work/log.
boot() {
  cp /bin/busybox "$work/root/bin/"
  {
    echo '#!/bin/busybox sh'
    echo '/bin/busybox --install -s /bin'
    echo 'mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sysfs /sys'
    echo 'echo 1 >/proc/sys/kernel/printk'
    # End the line that the firmware has begun on the console.
    echo 'echo'
    cat
    echo 'poweroff -f'
  } >"$work/root/init"
  chmod +x "$work/root/init"
  (cd "$work/root" && find . | cpio -o -H newc --quiet) >"$work/initrd"
  # On a busy machine, the kernel's check of its timer fails by chance (no_timer_check).
  timeout 900 qemu-system-x86_64 -accel tcg -m 1024 -nographic -no-reboot -nodefaults -serial stdio \
    -kernel "$(find "$work/kernel" -name 'vmlinuz*')" -initrd "$work/initrd" \
    -append "console=ttyS0 quiet panic=-1 no_timer_check $*" </dev/null | tr -d '\r' >"$work/log"
}
