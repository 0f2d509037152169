package object

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrLicense is that of package kernel.
var ErrLicense = errors.New("licence is not GPL-compatible")

// gplCompatible are the licences the kernel takes for GPL-compatible:
// license_is_gpl_compatible() in include/linux/license.h.
var gplCompatible = []string{
	"GPL", "GPL v2", "GPL and additional rights",
	"Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL",
}

// CheckLicense returns an [ErrLicense] if a licence is not compatible.
func CheckLicense(license string) error {
	if slices.Contains(gplCompatible, license) {
		return nil
	}
	has := fmt.Sprintf("it says %q", license)
	if license == "" {
		has = "it has none; add MODULE_LICENSE(\"GPL\")"
	}
	return fmt.Errorf("%w: %s; it must be one of %s", ErrLicense, has, strings.Join(gplCompatible, ", "))
}
